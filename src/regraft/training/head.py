"""Fit a head on the frozen features of a manifest's training images, whatever the head is made of.

Knows neither files nor options: features, manifest and settings come in, a head and its history go out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.classifier.files import Head
from regraft.classifier.views import ViewsSeen
from regraft.heads.kernel import KernelFeatures
from regraft.heads.layers import AnyLayers, KernelLayers
from regraft.heads.targets import BinaryTarget, MulticlassTarget, target_for
from regraft.training.balance import Balance, measuring_weights
from regraft.training.feature_columns import (
    SelectedFeatures,
    features_by_view,
    rows_of_each_view,
    rows_of_mean,
)
from regraft.training.kernel_head import fit_kernel_head
from regraft.training.learnt import LearnFrom, given_weights, learnt_probabilities
from regraft.training.linear_probe import LinearProbe, SolverSettings, fit_linear_probe
from regraft.training.mlp_head import MlpSettings, fit_mlp_head
from regraft.training.units import units_of_training

HeadSettings = SolverSettings | MlpSettings


class NotConvergedError(ValueError):
    """A head that was not fitted when its iterations or epochs were used up."""


def fit_head(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    *,
    layers: AnyLayers,
    settings: HeadSettings,
    balance: Balance = "none",
    stages: Sequence[str] | None = None,
    view_features: NDArray[np.float32] | None = None,
    learn_from: LearnFrom = "labels",
    views_seen: ViewsSeen = "each",
) -> tuple[Head, dict[str, Any]]:
    """Fit a head on pooled features of a backbone.

    Args:
        features: `(N, D)` float32, all stages side by side, rows as in the manifest.
        feature_dims: The width of each stage's features, in depth order.
        manifest: `split`, `group` and the target's column of numbers.
        label_names: The one target: its column and its labels in the order of their numbers.
        layers: What the head is made of.
        settings: `SolverSettings` for what is solved, linear and kernel layers; `MlpSettings` for others.
        balance: What is done about classes of unequal size.
        stages: Whose features are put side by side, in depth order; None for the deepest.
        view_features: `(V * N, D)` float32, of further views of all images, view after view: of training images
            they are learnt from as well. A linear head sees views of one image on one side of a fold.
        learn_from: The labels, the probabilities that the source gives beside them, or both.
        views_seen: Each view of an image as a row of its own, or the mean of its views' features as its one row; the
            classifier made of it does likewise.

    Returns:
        The head for raw features of these stages, and how it was found: a summary and a row a candidate or an epoch.

    Raises:
        NotConvergedError: If the convergence criterion was not met.
    """
    ((column, names),) = label_names.items()
    target = target_for(column, tuple(names))
    stages = tuple(stages or (list(feature_dims)[-1],))
    feature_dim = sum(feature_dims[stage] for stage in stages)
    examples = _gather(
        features_by_view(features, view_features),
        feature_dims,
        stages,
        manifest,
        column,
        views_seen=views_seen,
    )
    probabilities = learnt_probabilities(examples.images, column, names, learn_from)
    if isinstance(layers, KernelLayers):
        layers = layers.model_copy(update={"num_centres": min(layers.num_centres, examples.num_images)})
    with torch.device("meta"):  # else initial weights nobody wants are drawn from the global generator
        modules = layers.build(feature_dim, target.num_outputs)
    modules.to_empty(device="cpu")
    if isinstance(settings, SolverSettings):
        summary, rows, used_up = _solve(modules, examples, target, settings, balance, probabilities)
    else:
        fitted = fit_mlp_head(
            modules,
            target,
            (examples.features.whole(), examples.labels),
            (examples.val_features.whole(), examples.val_labels),
            settings=settings,
            balance=balance,
            probabilities=probabilities,
            weights=given_weights(examples.images),
        )
        modules, rows = fitted.head, fitted.history
        summary = {
            "criterion": f"no lower log-loss on val for {settings.patience} epochs",
            "is_converged": fitted.is_converged,
            "best_epoch": fitted.best_epoch,
        }
        used_up = f"{len(rows)} epochs; raise train_head.head.max_epochs, or lower its learning_rate"
    if not summary["is_converged"]:
        raise NotConvergedError(f"the head did not converge ({summary['criterion']}) in {used_up}")
    return Head(modules.eval().requires_grad_(False), layers, feature_dim, target, stages, views_seen), {
        "summary": summary,
        "rows": rows,
    }


@dataclass(frozen=True)
class _Examples:
    """What a head is fitted on.

    Attributes:
        features: `(R, D)`, a row an image to learn from, or a row each view of it, view after view.
        labels: `(R,)`.
        images: The R rows of the manifest.
        units: `(R,)` numbers of what cross-validation keeps together.
        num_images: How many of the rows are of the first view.
        val_features: `(M, D)`.
        val_labels: `(M,)`.
    """

    features: SelectedFeatures
    labels: NDArray[np.int64]
    images: pd.DataFrame
    units: NDArray[np.int64]
    num_images: int
    val_features: SelectedFeatures
    val_labels: NDArray[np.int64]


def _gather(
    views: Sequence[NDArray[np.float32]],
    feature_dims: Mapping[str, int],
    stages: Sequence[str],
    manifest: pd.DataFrame,
    column: str,
    *,
    views_seen: ViewsSeen,
) -> _Examples:
    train, val = (np.flatnonzero(manifest["split"] == split) for split in ("train", "val"))
    labels, num_rows_each = manifest[column].to_numpy(np.int64), 1
    if views_seen == "each":
        num_rows_each = len(views)
        learnt = rows_of_each_view(views, train, feature_dims, stages)
        measured = rows_of_each_view(views[:1], val, feature_dims, stages)
    else:
        learnt, measured = (rows_of_mean(views, rows, feature_dims, stages) for rows in (train, val))
    return _Examples(
        learnt,
        np.tile(labels[train], num_rows_each),
        manifest.iloc[np.tile(train, num_rows_each)],
        np.tile(units_of_training(manifest), num_rows_each),
        len(train),
        measured,
        labels[val],
    )


def _solve(
    modules: nn.Sequential,
    examples: _Examples,
    target: BinaryTarget | MulticlassTarget,
    settings: SolverSettings,
    balance: Balance,
    probabilities: NDArray[np.float64] | None,
) -> tuple[dict[str, Any], list[dict[str, float]], str]:
    """Fill linear layers, or a kernel's: the summary, a row a penalty, and what was used up if it did not converge."""
    weights = measuring_weights(examples.labels, balance) * given_weights(examples.images)
    data: dict[str, Any] = {
        "num_classes": len(target.label_names),
        "groups": examples.units,
        "settings": settings,
        "weights": weights / weights.mean(),
        "targets": probabilities,
    }
    if isinstance(modules[0], KernelFeatures):
        probe = fit_kernel_head(
            modules, examples.features.whole(), examples.labels, num_images=examples.num_images, **data
        )
    else:
        probe = fit_linear_probe(examples.features, examples.labels, **data)
        _put_into(modules, probe)
    summary = {
        "criterion": f"largest gradient entry at most {settings.tolerance:g}",
        "is_converged": probe.is_converged,
        "gradient_norm": probe.gradient_norm,
        "iterations": probe.iterations,
        "penalty": probe.penalty,
    }
    used_up = f"{probe.iterations} iterations; raise train_head.head.max_iterations, or the penalties"
    return summary, probe.history, used_up


def _put_into(modules: nn.Sequential, probe: LinearProbe) -> None:
    linear = modules[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(probe.weight))
        linear.bias.copy_(torch.from_numpy(probe.bias))
