"""Which targets a recorded table of predictions holds answers to, and how targets are called in sentences.

Knows the names of the table's columns alone; see `training.target_answers`.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from regraft.training.target_answers import Target

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
