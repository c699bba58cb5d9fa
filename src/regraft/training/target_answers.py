"""What is true of several targets and what is said of them: as columns of a table of predictions, and as arrays.

A column of a target is called `<target>.<what>`: of classes `true`, `true_name`, `predicted`, `predicted_name` and a
probability `p_<label>` each; of a number `true` and `predicted`; of points `true_x0`, `true_y0` and so on, likewise
`predicted_x0`. As arrays, `true` is `(N,)` int64 numbers of classes, `(N,)` float64 numbers, or `(N, P, 2)` float64
points as fractions of width and height; `said` is `(N, K)` float64 probabilities, `(N,)` float64, or `(N, P, 2)`
float64. Knows no model and no split.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.images.target_columns import manifest_columns

Floats = NDArray[np.float64]
Target = Mapping[str, Any]  # as `describe_targets` describes it

# By kind of target the one metric that is told where there is room for one
HEADLINES: Final = {"classes": "accuracy", "number": "mean_absolute_error", "points": "mean_distance"}


def headline_metric(target: Target) -> str:
    """The headline metric of a target, `age.mean_absolute_error`."""
    return f"{target['name']}.{HEADLINES[target['kind']]}"


def headline_scores(true: NDArray[Any], said: Floats, kind: str) -> Floats:
    """`(N,)`: what the headline metric is the mean of, for each image."""
    if kind == "classes":
        is_right: Floats = (said.argmax(axis=1) == true).astype(np.float64)
        return is_right
    errors: Floats = np.abs(said - true) if kind == "number" else point_distances(true, said).mean(axis=1)
    return errors


def point_distances(true: Floats, said: Floats) -> Floats:
    """`(N, P)` Euclidean distances of `(N, P, 2)` points, as fractions of the image's side."""
    distances: Floats = np.linalg.norm(said - true, axis=2)
    return distances


def true_columns(target: Target) -> list[str]:
    """Columns of what is true: one, or two a point."""
    return _columns(target, "true")


def said_columns(target: Target) -> list[str]:
    """Columns of what a model says: the probability of each class, a number, or two a point."""
    if target["kind"] == "classes":
        return [f"{target['name']}.p_{label}" for label in target["label_names"]]
    return _columns(target, "predicted")


def true_values(predictions: pd.DataFrame, target: Target) -> NDArray[Any]:
    """What is true of rows of a table of predictions."""
    return _true(predictions[true_columns(target)], target)


def said_values(predictions: pd.DataFrame, target: Target) -> Floats:
    """What is said in rows of a table of predictions."""
    return shaped(predictions[said_columns(target)].to_numpy(np.float64), target["kind"])


def true_by_target(images: pd.DataFrame, targets: Sequence[Target]) -> dict[str, NDArray[Any]]:
    """What is true of rows of the manifest."""
    return {target["name"]: _true(images[manifest_columns(target)], target) for target in targets}


def answers_by_target(answers: Floats, targets: Sequence[Target]) -> dict[str, Floats]:
    """What is said, of answers `(N, A)` in the layout of `SeveralTargets.answers`."""
    ends = np.cumsum([len(said_columns(target)) for target in targets])[:-1]
    parts = np.split(answers, ends, axis=1)
    return {target["name"]: shaped(part, target["kind"]) for target, part in zip(targets, parts, strict=True)}


def shaped(values: Floats, kind: str) -> Floats:
    """Columns `(N, W)` of a target as `said` has them."""
    if kind == "number":
        return values[:, 0]
    return values.reshape(len(values), -1, 2) if kind == "points" else values


def _true(values: pd.DataFrame, target: Target) -> NDArray[Any]:
    if target["kind"] == "classes":
        return values.iloc[:, 0].to_numpy(np.int64)
    return shaped(values.to_numpy(np.float64), target["kind"])


def _columns(target: Target, what: str) -> list[str]:
    name = f"{target['name']}.{what}"
    if target["kind"] != "points":
        return [name]
    return [f"{name}_{axis}{point}" for point in range(target["num_points"]) for axis in "xy"]
