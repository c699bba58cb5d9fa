"""What several targets are scored by: the metrics of each kind of target, and one loss for all of them together.

Knows answers and what is true as arrays: no table, no split, no figure. A metric of a target is called
`<target>.<metric>`; that of all of them `joint_loss`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regraft.evaluation.estimates import Measured
from regraft.evaluation.intervals import measured_classes
from regraft.evaluation.metrics import METRICS
from regraft.evaluation.reweighted import ValuesOfWeights, mean_of
from regraft.training.target_answers import Floats, Target, headline_scores, point_distances
from regraft.training.target_losses import error_unit, image_losses

JOINT_LOSS: Final = "joint_loss"
NEAR: Final = 0.05  # of the image's side: a point is found
MAX_SHOWN: Final = 8  # targets that are told and drawn one by one

_ROUNDING = 1e-12  # relative: less is no spread of numbers


class MetricFacts(NamedTuple):
    """What a reader must know of a metric.

    Attributes:
        title: How people call it.
        higher_is_better: Whether the best value is the highest.
        is_headline: Whether the report's first table shows it at full strength.
        is_fraction: Whether it reads well as a percentage.
        has_unit: Whether it is in a unit of the data or of the image, and so of any size.
    """

    title: str
    higher_is_better: bool
    is_headline: bool
    is_fraction: bool
    has_unit: bool


_FACTS: Final = {
    **{
        name: MetricFacts(row.title, row.higher_is_better, row.is_headline, row.is_fraction, has_unit=False)
        for name, row in METRICS.items()
    },
    JOINT_LOSS: MetricFacts("Joint loss (nats)", False, True, False, has_unit=False),
    "mean_absolute_error": MetricFacts("Mean absolute error", False, True, False, has_unit=True),
    "root_mean_squared_error": MetricFacts("RMS error", False, True, False, has_unit=True),
    "r2": MetricFacts("R²", True, True, False, has_unit=False),
    "mean_distance": MetricFacts("Mean distance", False, True, True, has_unit=True),
    "found_within_5_percent": MetricFacts("Points within 5 %", True, True, True, has_unit=False),
}


def facts_of(metric: str) -> MetricFacts:
    """The facts of a metric, whether it is called by its own name or as `<target>.<metric>`."""
    return _FACTS[metric.rpartition(".")[2]]


def loss_units(
    true: Mapping[str, NDArray[Any]], said: Mapping[str, Floats], targets: Sequence[Target]
) -> dict[str, float]:
    """By target of numbers or points the mean squared error of these answers: what costs half a nat.

    Args:
        true: By target, as `SeveralScores.true`.
        said: By target, of one model, as `SeveralScores.said[model]`.
        targets: What was learnt.

    Returns:
        Numbers above 0, so that a loss can be divided by them; a tiny one where all answers are right.
    """
    return {
        target["name"]: error_unit(true[target["name"]], said[target["name"]])
        for target in targets
        if target["kind"] != "classes"
    }


def measure_targets(
    true: Mapping[str, NDArray[Any]],
    said: Mapping[str, Floats],
    targets: Sequence[Target],
    units: Mapping[str, float],
) -> dict[str, Measured]:
    """Every metric of every target, and `joint_loss`: the mean over images of the sum of their losses.

    Args:
        true: By target, as `SeveralScores.true`.
        said: By target, of one model, as `SeveralScores.said[model]`.
        targets: What was learnt.
        units: See `image_losses`.
    """
    losses = image_losses(true, said, targets, units)
    num_images = len(next(iter(losses.values())))
    measured = {
        f"{target['name']}.{metric}": found
        for target in targets
        for metric, found in measure_target(target, true[target["name"]], said[target["name"]]).items()
    }
    return measured | {JOINT_LOSS: _measured(mean_of(sum(losses.values(), np.zeros(num_images))), num_images)}


def measure_target(target: Target, true: NDArray[Any], said: Floats) -> dict[str, Measured]:
    """The metrics of one target by their own names; `true` and `said` as in `SeveralScores`.

    Of classes those of `METRICS`. Of a number the mean absolute error, the root of the mean squared error and R², the
    fraction of the squared spread that is explained. Of points the mean distance from where they are, x and y being
    fractions of the image's width and height, and how many are nearer than 0.05.
    """
    if target["kind"] == "classes":
        return {metric: measured_classes(metric, said, true) for metric in METRICS}
    functions: dict[str, ValuesOfWeights]
    if target["kind"] == "number":
        functions = {
            "mean_absolute_error": mean_of(headline_scores(true, said, "number")),
            "root_mean_squared_error": _root(mean_of((said - true) ** 2)),
            "r2": _r2(true, said),
        }
    else:
        is_near = point_distances(true, said) < NEAR
        functions = {
            "mean_distance": mean_of(headline_scores(true, said, "points")),
            "found_within_5_percent": mean_of(is_near.mean(axis=1)),
        }
    return {metric: _measured(function, len(true)) for metric, function in functions.items()}


def _measured(function: ValuesOfWeights, num_images: int) -> Measured:
    value = float(function(np.ones((num_images, 1)))[0])
    return Measured(value, function, "all their numbers are equal", "hold one number only")


def _root(function: ValuesOfWeights) -> ValuesOfWeights:
    def values(weights: Floats) -> Floats:
        root: Floats = np.sqrt(function(weights))
        return root

    return values


def _r2(true: Floats, said: Floats) -> ValuesOfWeights:
    """1 minus the squared error over the squared spread; NaN where all numbers are equal."""
    centred = true - np.median(true)  # exactly 0 where all are equal
    spread, square = mean_of(centred), mean_of(centred**2)
    error: Callable[[Floats], Floats] = mean_of((said - true) ** 2)

    def values(weights: Floats) -> Floats:
        of_square = square(weights)
        variance = of_square - spread(weights) ** 2
        is_defined = variance > _ROUNDING * of_square
        explained = np.full(len(variance), np.nan)
        explained[is_defined] = 1 - error(weights)[is_defined] / variance[is_defined]
        return explained

    return values
