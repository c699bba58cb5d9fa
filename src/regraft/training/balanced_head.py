"""The head under the balance asked for, or under the one that does best on `val`, with the numbers that say so.

Knows neither files nor options. What is chosen here is what fine-tuning goes on with.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from regraft.classifier.files import Head
from regraft.classifier.views import ViewsSeen
from regraft.heads.layers import AnyLayers
from regraft.training.balance import Balance, Floats, Ints, even_weights
from regraft.training.feature_columns import features_by_view, rows_of_mean
from regraft.training.head import HeadSettings, fit_head
from regraft.training.learnt import LearnFrom
from regraft.training.linear_probe import SolverSettings
from regraft.training.units import units_of

_SIMPLEST_FIRST: Final[tuple[Balance, ...]] = ("none", "class_weights", "balanced_sampler")


def fit_balanced_head(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    *,
    layers: AnyLayers,
    settings: HeadSettings,
    balance: Balance | Literal["auto"],
    stages: Sequence[str] | None = None,
    learn_from: LearnFrom = "labels",
    view_features: NDArray[np.float32] | None = None,
    views_seen: ViewsSeen = "each",
) -> tuple[Head, dict[str, Any], dict[str, Any]]:
    """Fit a head; with `auto` one under each balance, of which one is chosen on `val`.

    A solved head is the same under weights and under a sampler, so there the sampler is not tried.

    Args:
        features: See `fit_head`, and there for the others.
        balance: What to do about classes of unequal size, or `auto`.
        learn_from: See `fit_head`; what is chosen on `val` is chosen against its labels.

    Returns:
        The head, its history, and the choice, JSON-serialisable: `asked`, `chosen`, `reason`, `class_weights` by
        label name, and `candidates`, a row a balance tried with its scores on `val`.
    """
    tried: tuple[Balance, ...] = (balance,) if balance != "auto" else _SIMPLEST_FIRST
    if balance == "auto" and isinstance(settings, SolverSettings):
        tried = _SIMPLEST_FIRST[:2]
    fitted = {
        each: fit_head(
            features,
            feature_dims,
            manifest,
            label_names,
            layers=layers,
            settings=settings,
            balance=each,
            stages=stages,
            learn_from=learn_from,
            view_features=view_features,
            views_seen=views_seen,
        )
        for each in tried
    }
    ((column, names),) = label_names.items()
    rows = np.flatnonzero(manifest["split"] == "val")
    labels = manifest[column].to_numpy(np.int64)[rows]
    views = features_by_view(features, view_features if views_seen == "mean" else None)
    of_val = rows_of_mean(views, rows, feature_dims, stages or (list(feature_dims)[-1],))
    val_features = torch.from_numpy(of_val.whole())
    candidates = score_candidates(
        {each: _probabilities(head, val_features) for each, (head, _) in fitted.items()},
        labels,
        units_of(manifest.iloc[rows]),
    )
    chosen = next(row["balance"] for row in candidates if row["excess"] <= row["standard_error"])
    learnt = manifest.loc[manifest["split"] == "train", column].to_numpy(np.int64)
    weights = even_weights(learnt)
    choice = {
        "asked": balance,
        "chosen": chosen,
        "reason": _reason(candidates, chosen) if len(tried) > 1 else "asked for",
        "class_weights": {name: float(weights[learnt == number][0]) for number, name in enumerate(names)},
        "candidates": candidates,
    }
    return *fitted[chosen], choice


def score_candidates(
    probabilities: Mapping[Balance, Floats], labels: Ints, groups: Ints
) -> list[dict[str, Any]]:
    """What each balance gives on `val`, and how far it is from the best of them.

    The measure is log-loss with every class counting the same: a proper score for what balancing is to reach, and
    one that moves less by chance than balanced accuracy, which a dozen images of the rare class move in steps.

    Args:
        probabilities: Of each candidate, `(N, K)`.
        labels: `(N,)`.
        groups: `(N,)` numbers; images of one group are not taken for independent.

    Returns:
        A row a candidate, in their order: `balance`, `balanced_log_loss`, `balanced_accuracy`, `log_loss`,
        `accuracy`; `excess` of the first over the least, and its `standard_error`, from the paired differences.

    Source:
        A candidate within one standard error of the best cannot be told from it: Breiman et al. 1984, section 3.4.3.
    """
    weights, each = even_weights(labels), np.arange(len(labels))
    losses = {
        name: -np.log(np.clip(of_name[each, labels], 1e-15, 1)) for name, of_name in probabilities.items()
    }
    best = min(losses.values(), key=lambda of_name: float((weights * of_name).mean()))
    rows: list[dict[str, Any]] = []
    for name, of_name in probabilities.items():
        is_right = of_name.argmax(axis=1) == labels
        gaps = weights * (losses[name] - best)
        of_group = np.bincount(groups, gaps - gaps.mean())
        rows.append(
            {
                "balance": name,
                "balanced_log_loss": float((weights * losses[name]).mean()),
                "balanced_accuracy": float((weights * is_right).mean()),
                "log_loss": float(losses[name].mean()),
                "accuracy": float(is_right.mean()),
                "excess": float(gaps.mean()),
                "standard_error": float(np.sqrt((of_group**2).sum()) / len(labels)),
            }
        )
    return rows


def _probabilities(head: Head, features: torch.Tensor) -> Floats:
    with torch.no_grad():
        probabilities: Floats = head.target.answers(head.modules(features)).numpy()
    return probabilities


def _reason(candidates: list[dict[str, Any]], chosen: Balance) -> str:
    """The choice in one sentence."""
    listed = ", ".join(f"{row['balance']} {row['balanced_log_loss']:.4f}" for row in candidates)
    taken = next(row for row in candidates if row["balance"] == chosen)
    why = "the least" if taken["excess"] == 0 else "the simplest within one standard error of the least"
    return f"log-loss on val with every class counting the same: {listed}; {chosen} is {why}"
