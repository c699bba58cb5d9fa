"""Drift: whether val or test differ from train in what stands in the files, by more than chance explains.

Knows tables of numbers and words: no image, no model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUM_SHUFFLES: Final = 199  # the smallest p-value is one in 200
_MAX_P_VALUE: Final = 0.01
_MIN_DISTANCE: Final = 0.1  # of 1: smaller differences are real in large collections, and harmless


def find_drift(
    splits: Sequence[str], units: Sequence[Any], properties: Mapping[str, Sequence[Any]], *, seed: int
) -> list[dict[str, Any]]:
    """Compare val and test with train, property by property.

    The distance is that of Kolmogorov and Smirnov for numbers, total variation for words: 0 alike, 1 nothing in
    common. Its p-value is from shuffling which unit lies in which split, so images of one group are no independent
    witnesses.

    Args:
        splits: `train`, `val` or `test` of N images.
        units: What was split whole: N keys of groups, each in one split.
        properties: N numbers or N words each, none missing.
        seed: Of the shuffles.

    Returns:
        A row a property and split: `property`, `split`, `distance`, `p_value`, `is_clear` (a p-value of at most
        0.01 and a distance of at least 0.1). A split without an image has no row.

    Raises:
        ValueError: If a unit lies in two splits.
    """
    split_of_row = np.asarray(splits)
    unit_of_row, names = pd.factorize(np.asarray(units))
    split_of_unit = np.empty(len(names), split_of_row.dtype)
    split_of_unit[unit_of_row] = split_of_row
    if not np.array_equal(split_of_unit[unit_of_row], split_of_row):
        raise ValueError("a unit lies in two splits: give units that were split whole")
    generator = np.random.default_rng(seed)
    shuffles = [generator.permutation(split_of_unit)[unit_of_row] for _ in range(NUM_SHUFFLES)]
    rows = []
    for name, values in properties.items():
        measure = _distance_between(np.asarray(values))
        for split in ("val", "test"):
            if not {"train", split} <= set(split_of_row):
                continue
            distance = measure(split_of_row == "train", split_of_row == split)
            as_far = sum(
                measure(shuffled == "train", shuffled == split) >= distance - 1e-12 for shuffled in shuffles
            )
            p_value = (1 + as_far) / (1 + NUM_SHUFFLES)
            rows.append(
                {
                    "property": name,
                    "split": split,
                    "distance": distance,
                    "p_value": p_value,
                    "is_clear": p_value <= _MAX_P_VALUE and distance >= _MIN_DISTANCE,
                }
            )
    return rows


def _distance_between(values: NDArray[Any]) -> Any:
    """A function of two masks: the distance between the values under them."""
    codes, kinds = pd.factorize(values, sort=True)
    is_number = np.issubdtype(values.dtype, np.number)

    def measure(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
        shares = [
            np.bincount(codes[mask], minlength=len(kinds)) / max(1, mask.sum()) for mask in (first, second)
        ]
        gaps = shares[0] - shares[1]
        return float(np.abs(np.cumsum(gaps)).max() if is_number else np.abs(gaps).sum() / 2)

    return measure
