"""Split kinds: what one cheap probe scores if images are split at random, and if whole groups are held out.

Knows cached features and the manifest: no network is run, no model in use is touched. Beside each score stands what is
reached without a pixel under the same split.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.baselines import group_majority_predictions, majority_predictions
from regraft.evaluation.intervals import Bootstrap, bootstrap_intervals, bootstrap_models
from regraft.evaluation.metrics import FloatArray, IntArray
from regraft.evaluation.predictions import group_names
from regraft.images.splits import number_units
from regraft.training.linear_probe import SolverSettings
from regraft.training.out_of_fold import predict_held_out

SplitKind = Literal["random", "grouped"]
KINDS: Final[tuple[SplitKind, ...]] = ("random", "grouped")

_NUM_FOLDS: Final = 5
_MAX_IMAGES: Final = 5000  # seconds, whatever the number of images
_METRIC: Final = "accuracy"
_SETTINGS: Final = SolverSettings(
    (3.0, 1.0, 0.3, 0.1, 0.03), num_folds=_NUM_FOLDS, tolerance=1e-3, max_iterations=500, seed=0
)


def compare_split_kinds(
    features: NDArray[np.float32],
    manifest: pd.DataFrame,
    label_names: Sequence[str],
    *,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Score a linear probe by five-fold cross-validation over all images, split at random and by whole groups.

    The penalty of a fold is the one with the least log-loss on the other folds: a random split favours a weaker one.
    Copies are never on two sides. Images of a class that a fold would have to tell without having seen it are left
    out of both.

    Args:
        features: `(N, D)` float32, rows as in the manifest.
        manifest: `split`, `label`, `group`, `pixel_sha256`, and `copy_group` where near copies were looked for.
        label_names: K names, in the order of the classes.
        bootstrap: How intervals are made: from images under the random split, from groups under the other.

    Returns:
        JSON-serialisable, the same for the same input. `random` and `grouped`: accuracy with its interval of `probe`,
        `group_majority` and `majority_class`; empty where `reason` says that there is nothing to compare.
        `difference`: the probe's random score minus its grouped one, on the same images, with an interval from
        groups. `in_use`: which kind this run's own split is of. `num_images`, `num_groups`, `num_folds`.
    """
    groups = manifest["group"].dropna()
    if groups.nunique() < 2 or groups.nunique() == len(groups):
        return nothing_compared("no two images of the manifest are of one group, or all are")
    rows = _sample(manifest)
    table, some = manifest.iloc[rows].reset_index(drop=True), features[rows]
    predicted = {kind: _cross_validate(some, table, kind, len(label_names)) for kind in KINDS}
    is_told = np.logical_and.reduce([~np.isnan(probe[:, 0]) for probe, *_ in predicted.values()])
    if not is_told.any():
        return nothing_compared("every class is in too few groups to hold some of them out")
    labels = table["label"].to_numpy(np.int64)[is_told]
    names = group_names(table.loc[is_told, "group"])
    found: dict[str, Any] = {}
    for kind, answers in predicted.items():
        found[kind] = {
            who: {
                _METRIC: bootstrap_intervals(
                    of_who[is_told],
                    labels,
                    bootstrap=bootstrap,
                    groups=names if kind == "grouped" else None,
                    metrics=(_METRIC,),
                )[_METRIC].as_dict()
            }
            for who, of_who in zip(("probe", "group_majority", "majority_class"), answers, strict=True)
        }
    grouped_first: dict[str, FloatArray] = {kind: predicted[kind][0][is_told] for kind in reversed(KINDS)}
    _, difference = bootstrap_models(
        grouped_first, labels, bootstrap=bootstrap, groups=names, metrics=(_METRIC,)
    )
    of_group = manifest.dropna(subset=["group"]).groupby("group")["split"].nunique()
    return found | {
        "difference": {_METRIC: difference[_METRIC].as_dict()},
        "in_use": "random" if of_group.max() > 1 else "grouped",
        "num_images": int(is_told.sum()),
        "num_groups": len(set(names) - {None}),
        "num_folds": _NUM_FOLDS,
    }


def nothing_compared(reason: str) -> dict[str, Any]:
    """What `compare_split_kinds` gives where there is nothing to compare, and why that is."""
    return {"random": {}, "grouped": {}, "difference": {}, "reason": reason}


def describe_split_kinds(found: Mapping[str, Any]) -> str:
    """What the comparison says of the scores of this run, in two sentences; nothing where there was none."""
    if not found["random"]:
        return ""
    estimate = found["difference"][_METRIC]
    shown = [f"{100 * estimate[key]:+.1f}".replace("-", "−") for key in ("value", "low", "high")]
    points = f"{shown[0]} points ({shown[1]} to {shown[2]})"
    if estimate["low"] > 0:
        meaning = (
            f"Splitting at random adds {points}, which a model owes to images of groups that it has seen."
        )
    else:
        meaning = f"Splitting at random changes the score by {points}: no more than chance can."
    told = {
        "grouped": "The scores of this run are of the second kind: of groups that were held out.",
        "random": "The scores of this run are of the first kind; of new groups expect the second.",
    }[found["in_use"]]
    return f"{meaning} {told}"


def _sample(manifest: pd.DataFrame) -> IntArray:
    """All rows, or as many whole groups, drawn at random, as seconds allow."""
    if len(manifest) <= _MAX_IMAGES:
        return np.arange(len(manifest))
    units = pd.factorize(pd.Series(number_units(manifest, "grouped")))[0]
    place = np.random.default_rng(0).permutation(units.max() + 1)[units]
    order = np.argsort(place, kind="stable")
    is_whole = np.append(np.diff(place[order]) != 0, True)  # the last image of its unit
    last = np.flatnonzero(is_whole[:_MAX_IMAGES])
    return np.sort(order[: last[-1] + 1 if len(last) else _MAX_IMAGES])


def _cross_validate(
    features: NDArray[np.float32], table: pd.DataFrame, kind: SplitKind, num_classes: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`(N, K)` out of fold of the probe, of the group's majority and of the majority; NaN where a class is new."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels, units = table["label"].to_numpy(np.int64), np.array(number_units(table, kind))
    num_folds = min(_NUM_FOLDS, len(np.unique(units)))
    splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=0)
    folds = [
        (learnt, asked)
        for learnt, asked in splitter.split(labels, labels, units)
        if len(np.unique(labels[learnt])) == num_classes
    ]
    of_group, of_class = np.full((2, len(labels), num_classes), np.nan)
    if not folds:
        return np.full_like(of_group, np.nan), of_group, of_class
    probe = predict_held_out(features, labels, num_classes=num_classes, folds=folds, settings=_SETTINGS)
    certain = np.eye(num_classes)
    for _, asked in folds:
        parted = table.assign(split=np.where(np.isin(np.arange(len(labels)), asked), "test", "train"))
        of_group[asked] = certain[group_majority_predictions(parted, split="test").predicted]
        of_class[asked] = certain[majority_predictions(parted, split="test")]
    return probe.probabilities, of_group, of_class
