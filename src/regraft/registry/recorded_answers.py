"""Answers to several targets, as a table of predictions holds them: which targets there are, what is said and true.

Knows the table's columns alone: `gender.true` and `gender.p_male` of classes, `age.true` and `age.predicted` of a
number, `face.true_x0` and `face.predicted_x0` of points.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Target = Mapping[str, Any]  # as `describe_targets` describes it

_OF_ONE_LABEL = "predicted_name"  # a column that only a table of one label has


def recorded_targets(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """The targets of a table, as `describe_targets` describes them; none where it is of one label."""
    if _OF_ONE_LABEL in predictions.columns:
        return []
    parts: dict[str, list[str]] = {}
    for column in map(str, predictions.columns):
        name, dot, what = column.partition(".")
        if dot:
            parts.setdefault(name, []).append(what)
    return [
        {"name": name, **_kind(whats)} for name, whats in parts.items() if {"true", "true_x0"} & set(whats)
    ]


def true_columns(target: Target) -> list[str]:
    """Columns of what is true: one, or two a point."""
    return _columns(target, "true")


def said_columns(target: Target) -> list[str]:
    """Columns of what a model says: the probability of each class, a number, or two a point."""
    if target["kind"] == "classes":
        return [f"{target['name']}.p_{label}" for label in target["label_names"]]
    return _columns(target, "predicted")


def true_values(rows: pd.DataFrame, target: Target) -> NDArray[Any]:
    """`(N,)` int64 numbers of classes, `(N,)` float64 numbers, or `(N, P, 2)` float64 points."""
    if target["kind"] == "classes":
        return rows[true_columns(target)[0]].to_numpy(np.int64)
    return _shaped(rows[true_columns(target)].to_numpy(np.float64), target)


def said_values(rows: pd.DataFrame, target: Target) -> Floats:
    """`(N, K)` float64 probabilities, `(N,)` float64 numbers, or `(N, P, 2)` float64 points."""
    return _shaped(rows[said_columns(target)].to_numpy(np.float64), target)


def target_text(target: Target) -> str:
    """A target in words: `gender (female, male)`, `age`, `68 points of face`."""
    if target["kind"] == "classes":
        return f"{target['name']} ({', '.join(target['label_names'])})"
    if target["kind"] == "points":
        return f"{target['num_points']} point{'s' if target['num_points'] > 1 else ''} of {target['name']}"
    return str(target["name"])


def names_text(names: Sequence[str]) -> str:
    """Words in a row, `and` before the last."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _kind(whats: Sequence[str]) -> dict[str, Any]:
    labels = [what.removeprefix("p_") for what in whats if what.startswith("p_")]
    if labels:
        return {"kind": "classes", "label_names": labels}
    num_points = sum(what.startswith("true_x") for what in whats)
    return {"kind": "points", "num_points": num_points} if num_points else {"kind": "number"}


def _columns(target: Target, what: str) -> list[str]:
    name = f"{target['name']}.{what}"
    if target["kind"] != "points":
        return [name]
    return [f"{name}_{axis}{point}" for point in range(target["num_points"]) for axis in "xy"]


def _shaped(values: Floats, target: Target) -> Floats:
    if target["kind"] == "number":
        return values[:, 0]
    return values.reshape(len(values), -1, 2) if target["kind"] == "points" else values
