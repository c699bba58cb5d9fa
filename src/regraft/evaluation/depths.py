"""How good the probes of every depth are, which differences are real, and the depth that follows from them.

Looks at training images alone, each judged by a probe that had not learnt from its group; knows no network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.intervals import Bootstrap, resample_weights
from regraft.evaluation.metrics import FloatArray, IntArray
from regraft.evaluation.several.scores import facts_of
from regraft.training.depth import Depth, DepthProbe, probe_depths
from regraft.training.linear_probe import SolverSettings
from regraft.training.units import units_of

DepthMetric = Literal["accuracy", "log_loss"]
_FAMILIES: tuple[Literal["last", "concat"], ...] = ("last", "concat")
_LEAST_PROBABILITY = np.finfo(np.float64).eps  # as scikit-learn counts a probability of 0


def score_depths(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    manifest: pd.DataFrame,
    label_names: Mapping[str, Sequence[str]],
    *,
    settings: SolverSettings,
    bootstrap: Bootstrap,
    metric: DepthMetric,
) -> dict[str, Any]:
    """Probe every depth on the training images of a manifest, and say which depth follows.

    Args:
        features: `(N, D)` float32, the stages side by side, rows as in the manifest.
        feature_dims: Length of each stage's features, in depth order.
        manifest: `split`, `group` and the target's column of numbers; rows of `val` and `test` are not looked at.
        label_names: The one target.
        settings: How each probe is fitted.
        bootstrap: How intervals are drawn.
        metric: What decides.

    Returns:
        JSON-serialisable: `choice`, by kind of features the `stage` and the `reason`; `rows`, one a stage with `step`,
        `stage`, and `last` and `concat` with `feature_dim`, `accuracy` and `log_loss`; `differences`, one a probe with
        `minus_best` and `minus_last`; and what it was measured on.
    """
    ((column, names),) = label_names.items()
    chosen = np.flatnonzero(manifest["split"] == "train")
    train = manifest.iloc[chosen]
    labels = train[column].to_numpy(np.int64)
    groups = [None if pd.isna(group) else str(group) for group in train["group"]]
    probes = probe_depths(
        np.ascontiguousarray(features[chosen]),
        feature_dims,
        labels,
        num_classes=len(names),
        groups=units_of(train),
        settings=settings,
    )
    return describe_depths(
        _values(probes, labels),
        groups=groups,
        bootstrap=bootstrap,
        metric=metric,
        num_folds=settings.num_folds,
    )


@dataclass(frozen=True)
class DepthValues:
    """What probes of every depth scored on the same images.

    Attributes:
        depths: P of them.
        values: By metric `(N, P)` float64, what its mean is taken of.
    """

    depths: Sequence[Depth]
    values: Mapping[str, FloatArray]


def describe_depths(
    measured: DepthValues,
    *,
    groups: Sequence[str | None],
    bootstrap: Bootstrap,
    metric: str,
    num_folds: int,
) -> dict[str, Any]:
    """What `score_depths` gives, of values that are there."""
    table = measure_values(measured, groups=groups, bootstrap=bootstrap)
    by_place = {(row["features"], row["stage"]): row for row in table}
    choice = {kind: choose_depth(table, features=kind, metric=metric) for kind in _FAMILIES}
    shown = ("feature_dim", *measured.values)
    stages = [depth.stage for depth in measured.depths if depth.features == "last"]
    return {
        "metric": metric,
        "confidence": bootstrap.confidence,
        "num_images": len(groups),
        "num_groups": len({group for group in groups if group is not None}),
        "num_folds": num_folds,
        "choice": {kind: {"stage": stage, "reason": reason} for kind, (stage, reason) in choice.items()},
        "rows": [
            {
                "step": step,
                "stage": stage,
                **{kind: {key: by_place[kind, stage][key] for key in shown} for kind in _FAMILIES},
            }
            for step, stage in enumerate(stages)
        ],
        "differences": [
            {key: row[key] for key in ("features", "stage", "minus_best", "minus_last")} for row in table
        ],
    }


def measure_depths(
    probes: Sequence[DepthProbe],
    labels: IntArray,
    *,
    groups: Sequence[str | None],
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """Accuracy and log-loss of every probe with intervals, and paired differences from the best and the last.

    Args:
        probes: As `probe_depths` gives them.
        labels: `(N,)` int64, of the images that they predict.
        groups: N group names, None for an image without one: whole groups are drawn.
        bootstrap: How to resample; all probes are measured on the same resamples.

    Returns:
        A row a probe, in their order: `features` (`last` or `concat`), `stage`, `feature_dim`; `accuracy` and
        `log_loss`, each `{value, low, high}`; `minus_best` and `minus_last` with the same metrics, each
        `{value, low, high, standard_error}`: this probe minus the best with its kind of features, and minus the deepest
        stage alone.
    """
    return measure_values(_values(probes, labels), groups=groups, bootstrap=bootstrap)


def _values(probes: Sequence[DepthProbe], labels: IntArray) -> DepthValues:
    """Whether each image is told right, and its log-loss."""
    rows = np.arange(len(labels))
    predicted = [probe.probabilities for probe in probes]
    values = {
        "accuracy": np.stack([np.argmax(one, axis=1) == labels for one in predicted], axis=1).astype(float),
        "log_loss": np.stack(
            [-np.log(np.maximum(one[rows, labels], _LEAST_PROBABILITY)) for one in predicted], axis=1
        ),
    }
    return DepthValues(probes, values)


def measure_values(
    measured: DepthValues, *, groups: Sequence[str | None], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """As `measure_depths`, of any metrics that are means over images."""
    values = measured.values
    families = {
        kind: [i for i, depth in enumerate(measured.depths) if depth.features == kind] for kind in _FAMILIES
    }
    table: list[dict[str, Any]] = [
        {"features": depth.features, "stage": depth.stage, "feature_dim": depth.feature_dim}
        for depth in measured.depths
    ]
    tail = (1 - bootstrap.confidence) / 2
    resampled: dict[str, list[FloatArray]] = {metric: [] for metric in values}
    for weights in resample_weights(len(groups), bootstrap=bootstrap, groups=groups):
        for metric, of_images in values.items():
            resampled[metric].append(of_images.T @ weights / weights.sum(axis=0))
    for metric, of_images in values.items():
        means = of_images.mean(axis=0)
        draws = np.concatenate(resampled[metric], axis=1)
        best = {
            kind: max(family, key=lambda i: _sign(metric) * means[i]) for kind, family in families.items()
        }
        for index, row in enumerate(table):
            row[metric] = _interval(means[index], draws[index], tail)
            others = {"minus_best": best[row["features"]], "minus_last": families["last"][-1]}
            for name, other in others.items():
                difference = draws[index] - draws[other]
                row.setdefault(name, {})[metric] = {
                    **_interval(means[index] - means[other], difference, tail),
                    "standard_error": float(difference.std()),
                }
    return table


def choose_depth(
    table: Sequence[Mapping[str, Any]], *, features: Literal["last", "concat"], metric: str
) -> tuple[str, str]:
    """The shallowest depth that is not told from the best one.

    A depth counts as equal to the best if its paired difference from it is within one standard error of that
    difference: what differs by chance is decided by what is cheaper to run.

    Args:
        table: Rows of `measure_depths`, from shallow to deep.
        features: Whether the head will see the last stage kept alone, or all stages up to it.
        metric: What counts.

    Returns:
        The stage to cut after, and why, as a sentence.

    Source:
        The one-standard-error rule of Breiman et al. 1984, section 3.4.3, on paired differences: groups that are
        hard for every depth do not widen it.
    """
    rows = [row for row in table if row["features"] == features]
    sign = _sign(metric)
    best = max(rows, key=lambda row: sign * row[metric]["value"])
    equal = (
        row
        for row in rows
        if sign * row["minus_best"][metric]["value"] + row["minus_best"][metric]["standard_error"] >= 0
    )
    chosen = next(equal)
    what = metric.replace("_", "-")
    if chosen is best:
        others = (
            "no stage is shallower"
            if chosen is rows[0]
            else "all shallower are more than a standard error worse"
        )
        return chosen["stage"], (
            f"{best['stage']} has the best {what} of all depths, {best[metric]['value']:.3f}, and {others}"
        )
    return chosen["stage"], (
        f"{chosen['stage']} has {what} {chosen[metric]['value']:.3f}; the best, {best['stage']} with "
        f"{best[metric]['value']:.3f}, is better by no more than one standard error and costs more to run"
    )


def _sign(metric: str) -> int:
    """1 where the highest is the best, else -1."""
    return 1 if facts_of(metric).higher_is_better else -1


def _interval(value: float, resampled: FloatArray, tail: float) -> dict[str, float]:
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return {"value": float(value), "low": float(low), "high": float(high)}
