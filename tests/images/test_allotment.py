"""Dealing units of images out to splits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.images.allotment import count_targets, deal_units


def test_targets_of_the_demonstration_are_deitschs_656_test_cells() -> None:
    targets = count_targets(np.array([821, 1803]), (0.65, 0.1, 0.25))
    assert targets.tolist() == [[534, 82, 205], [1172, 180, 451]]
    assert targets.sum(axis=0).tolist() == [1706, 262, 656]


def test_rounding_is_owed_to_later_classes() -> None:
    targets = count_targets(np.full(100, 10), (0.65, 0.1, 0.25))
    assert set(targets[:, 2]) == {2, 3}
    assert targets.sum(axis=0).tolist() == [650, 100, 250]


def test_a_class_of_three_gives_one_image_to_every_split() -> None:
    assert count_targets(np.array([3, 2, 5]), (0.8, 0.1, 0.1)).tolist() == [[1, 1, 1], [2, 0, 0], [3, 1, 1]]


@settings(deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=20), st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_targets_are_within_one_image_of_the_fractions(sizes: list[int], val: float, test: float) -> None:
    fractions = np.array([1 - val - test, val, test])
    targets = count_targets(np.array(sizes), fractions)
    ideal = np.outer(sizes, fractions)
    assert (targets.sum(axis=1) == sizes).all()
    assert (targets >= 0).all()
    assert (np.abs(targets - ideal)[:, 1:] < 1 + 1e-6).all()
    assert (targets[np.array(sizes) >= 3] >= 1).all()


def test_groups_are_exchanged_until_the_classes_are_balanced() -> None:
    # Eight groups of 10 with 0 to 7 positives and a quarter of them for test: exact balance is possible.
    units = np.repeat(np.arange(8), 10)
    labels = np.concatenate([np.arange(10) < positives for positives in range(8)]).astype(np.int64)
    splits = deal_units(units.tolist(), [f"{unit}" for unit in units], labels, (0.5, 0.25, 0.25))
    counts = [[int((splits == split).sum()), int(labels[splits == split].sum())] for split in range(3)]
    assert counts == [[40, 14], [20, 7], [20, 7]]


def test_a_group_larger_than_every_fraction_goes_to_the_largest() -> None:
    units = [0] * 60 + list(range(1, 41))
    labels = np.zeros(100, np.int64)
    splits = deal_units(units, [f"{unit:03d}" for unit in units], labels, (0.5, 0.25, 0.25))
    assert set(splits[:60]) == {0}
    assert np.bincount(splits).tolist() == [60, 20, 20]
