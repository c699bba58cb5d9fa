"""What each image costs, target by target, by what a model says and what is true, in nats.

Knows arrays and what the targets are, nothing of what gave the answers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from regraft.training.scoring import Floats, log_losses

_ROUNDING = 1e-12


def image_losses(
    true: Mapping[str, NDArray[Any]],
    said: Mapping[str, Floats],
    targets: Sequence[Mapping[str, Any]],
    units: Mapping[str, float],
) -> dict[str, Floats]:
    """The loss of each image by each target; losses of several targets may be summed.

    Args:
        true: By target `(N,)` int64 numbers of classes, `(N,)` float64 numbers, or `(N, P, 2)` float64 points.
        said: By target `(N, K)` float64 probabilities, `(N,)` float64, or `(N, P, 2)` float64.
        targets: As `describe_targets` describes them.
        units: By target of numbers or points a squared error > 0 that costs half a nat.

    Returns:
        By target `(N,)` float64: the log-loss of classes; half the squared error of a number, in its unit; half the
        mean squared error over the coordinates of points, in theirs.
    """
    return {
        target["name"]: (
            log_losses(said[target["name"]], true[target["name"]])
            if target["kind"] == "classes"
            else squared_errors(true[target["name"]], said[target["name"]]) / (2 * units[target["name"]])
        )
        for target in targets
    }


def error_unit(true: Floats, said: Floats) -> float:
    """The mean squared error of answers, to be what costs half a nat: > 0, and never so small beside the spread of what
    is true that rounding would count.

    Args:
        true: `(N,)` numbers or `(N, P, 2)` points.
        said: Of the same shape.
    """
    spread = float(((true - true.mean(axis=0)) ** 2).mean())
    return max(float(squared_errors(true, said).mean()), _ROUNDING * spread) or 1.0


def squared_errors(true: Floats, said: Floats) -> Floats:
    """The squared error `(N,)` of each image: of numbers `(N,)`, or the mean over all coordinates of `(N, P, 2)`."""
    squared: Floats = ((said - true) ** 2).reshape(len(true), -1).mean(axis=1)
    return squared
