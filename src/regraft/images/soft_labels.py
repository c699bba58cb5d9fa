"""Soft labels: how probable each class is where a label is uncertain by nature, as columns beside the label.

Knows tables: no option, no image, no model. `soft_<label>` holds the probability of a label, `weight` what an image
counts while a model learns.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from regraft.images.faults import show_first

if TYPE_CHECKING:  # as in sources: the options alone do not need it
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SOFT_PREFIX: Final = "soft_"
WEIGHT: Final = "weight"
_CERTAIN: Final = 1 - 1e-6
_TOLERANCE: Final = 1e-3  # probabilities written with three digits: 0.333, 0.667


def soft_labels(manifest: "pd.DataFrame", label_names: Sequence[str]) -> "NDArray[np.float64] | None":
    """`(N, K)` float64 class probabilities, rows sum to 1; None where the source gives none."""
    columns = [SOFT_PREFIX + name for name in label_names]
    if not set(columns) <= set(manifest.columns):
        return None
    probabilities = manifest[columns].to_numpy("float64")
    normalised: NDArray[np.float64] = probabilities / probabilities.sum(axis=1, keepdims=True)
    return normalised


def find_certain(probabilities: "NDArray[np.float64]") -> "NDArray[np.bool_]":
    """`(N,)` bool: images of which one class has all the probability."""
    certain: NDArray[np.bool_] = probabilities.max(axis=1) > _CERTAIN
    return certain


def read_numbers(rows: Sequence[dict[str, Any]], labels: Mapping[str, str], *, has_weight: bool) -> list[str]:
    """Turn the texts of probabilities and weights into numbers, in place; an empty probability is that of a certain
    label, an empty weight is 1.

    Args:
        rows: A row a listed file, with `label`, and as text `soft_<label>` for each of the labels and `weight`.
        labels: Labels whose probability is given, and the column that it stands in. For two labels one is enough.
        has_weight: Whether there is a `weight`.

    Returns:
        What is wrong, all of it.
    """
    faults: list[str] = []
    present = {str(row["label"]) for row in rows}
    if labels:
        faults += _find_misnamed(set(labels), present)
    wrong: dict[str, list[str]] = {"probability": [], "sum": [], "weight": []}
    for row in rows:
        if labels and not faults:
            _read_probabilities(row, list(labels), sorted(present), wrong)
        if has_weight:
            weight = _number(row[WEIGHT] or "1")
            if weight is None or weight < 0:
                wrong["weight"].append(f"{row['path']} ({row[WEIGHT]!r})")
            row[WEIGHT] = weight
    if has_weight and not wrong["weight"] and rows and not sum(row[WEIGHT] for row in rows):
        faults.append("all weights are 0")
    texts = {
        "probability": "rows have a probability that is no number from 0 to 1",
        "sum": "rows have probabilities that do not sum to 1",
        "weight": "rows have a weight that is no number from 0 on",
    }
    return faults + [
        f"{len(found)} {texts[kind]}: {show_first(found)}" for kind, found in wrong.items() if found
    ]


def _find_misnamed(labels: set[str], present: set[str]) -> list[str]:
    if unknown := sorted(labels - present):
        return [
            f"ingest.source.probability_columns names labels that no row has: {show_first(unknown)}; there are "
            f"{show_first(sorted(present))}"
        ]
    missing = sorted(present - labels)
    if missing and not (len(present) == 2 and len(labels) == 1):
        return [f"ingest.source.probability_columns names no column for {show_first(missing)}"]
    return []


def _read_probabilities(
    row: dict[str, Any], labels: list[str], present: list[str], wrong: dict[str, list[str]]
) -> None:
    texts = {label: row[SOFT_PREFIX + label] for label in labels}
    numbers = {label: None if text is None else _number(text) for label, text in texts.items()}
    if not any(texts.values()):
        numbers = {label: float(label == row["label"]) for label in present}
    elif any(number is None or not 0 <= number <= 1 for number in numbers.values()):
        wrong["probability"].append(f"{row['path']} ({', '.join(str(text) for text in texts.values())})")
        return
    for label in set(present) - set(numbers):  # the other of two
        numbers[label] = 1 - sum(number or 0 for number in numbers.values())
    total = sum(number or 0 for number in numbers.values())
    if abs(total - 1) > _TOLERANCE * len(present):
        wrong["sum"].append(f"{row['path']} ({total:.4g})")
    row |= {SOFT_PREFIX + label: (number or 0) / (total or 1) for label, number in numbers.items()}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
