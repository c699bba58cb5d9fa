"""Distances against scipy and by hand, and p-values that hold what they say."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from regraft.evaluation.drift import find_drift


def splits_of(*counts: int) -> list[str]:
    return ["train"] * counts[0] + ["val"] * counts[1] + ["test"] * counts[2]


def test_distances_of_numbers_are_those_of_kolmogorov_and_smirnov() -> None:
    generator = np.random.default_rng(0)
    values = np.round(generator.normal(size=120), 1)  # with ties
    values[80:] += 0.7
    rows = find_drift(splits_of(80, 10, 30), range(120), {"width": values.tolist()}, seed=0)
    for row, part in zip(rows, (values[80:90], values[90:]), strict=True):
        assert row["distance"] == pytest.approx(ks_2samp(values[:80], part).statistic, abs=1e-12)


def test_distances_of_words_are_half_the_sum_of_differences() -> None:
    words = ["L"] * 6 + ["RGB"] * 2 + ["L", "RGB", "CMYK", "CMYK"]
    (row,) = find_drift(splits_of(8, 4, 0), range(12), {"mode": words}, seed=0)
    assert row["distance"] == pytest.approx((0.5 + 0.0 + 0.5) / 2)
    assert (row["property"], row["split"]) == ("mode", "val")


def test_a_shift_is_clear_and_chance_is_not() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=600)
    shifted = values.copy()
    shifted[500:] += 1
    rows = find_drift(
        splits_of(400, 100, 100), range(600), {"same": values.tolist(), "moved": shifted.tolist()}, seed=0
    )
    assert [(row["property"], row["split"]) for row in rows if row["is_clear"]] == [("moved", "test")]
    assert rows[-1]["p_value"] == pytest.approx(1 / 200)


def test_p_values_are_right_where_groups_are_unlike_each_other() -> None:
    """Values that differ between groups alone: by images every split would drift, by groups few do."""
    clear_by = {"group": 0, "image": 0}
    for seed in range(40):
        generator = np.random.default_rng(seed)
        groups = np.repeat(np.arange(30), 20)
        values = (generator.normal(size=30)[groups] + 0.01 * generator.normal(size=600)).tolist()
        splits = np.array(splits_of(20, 5, 5))[groups].tolist()
        for unit, units in (("group", groups.tolist()), ("image", range(600))):
            rows = find_drift(splits, units, {"brightness": values}, seed=0)
            clear_by[unit] += sum(row["p_value"] <= 0.05 for row in rows)
    assert clear_by["group"] <= 10  # of 80; 4 are expected
    assert clear_by["image"] >= 60


def test_a_torn_unit_is_refused_and_an_empty_split_has_no_row() -> None:
    with pytest.raises(ValueError, match="a unit lies in two splits"):
        find_drift(["train", "val"], ["a", "a"], {"width": [1, 2]}, seed=0)
    assert find_drift(["train", "train"], [0, 1], {"width": [1, 2]}, seed=0) == []
