"""Rows that are standardised as they are read: the values of whole arrays, and what is solved with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.training import standardised_rows
from regraft.training.penalised_regression import PenalisedRegression, log_softmax
from regraft.training.standardised_rows import (
    MOST_BYTES_HELD,
    StandardisedRows,
    blocks_of,
    held_if_few,
    mean_and_variance,
)

FEATURES = (np.random.default_rng(0).standard_normal((700, 5)) * [1, 10, 0.1, 3, 1] + 4).astype(np.float32)
MEAN, SCALE = FEATURES.mean(axis=0, dtype=np.float64), FEATURES.std(axis=0, dtype=np.float64)


def rows_of(rows: np.ndarray, dtype: type = np.float64) -> StandardisedRows:
    return StandardisedRows(FEATURES, rows, MEAN, SCALE, dtype)


@given(st.lists(st.integers(0, 699), min_size=1, max_size=600), st.data())
def test_rows_are_those_of_the_whole_array_in_the_order_asked_for(
    numbers: list[int], data: st.DataObject
) -> None:
    rows = np.array(numbers)
    lazily = rows_of(rows)
    expected = (FEATURES.astype(np.float64)[rows] - MEAN) / SCALE
    np.testing.assert_array_equal(lazily.whole(), expected)
    np.testing.assert_array_equal(np.concatenate([block for _, block in lazily.blocks()]), expected)
    some = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1)))
    np.testing.assert_array_equal(lazily[some].whole(), expected[some])
    assert lazily[some].shape == (len(some), 5)


def test_float32_is_computed_in_float32() -> None:
    held = rows_of(np.arange(700), np.float32).whole()
    assert held.dtype == np.float32
    expected = (FEATURES - MEAN.astype(np.float32)) / SCALE.astype(np.float32)
    np.testing.assert_array_equal(held, expected)


@pytest.mark.parametrize("most_bytes", [MOST_BYTES_HELD, 0])
def test_mean_and_variance_are_those_of_the_rows(most_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardised_rows, "MOST_BYTES_HELD", most_bytes)
    rows = np.arange(0, 700, 2)
    mean, variance = mean_and_variance(FEATURES, rows)
    np.testing.assert_allclose(mean, FEATURES[rows].mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(variance, FEATURES[rows].var(axis=0, dtype=np.float64), rtol=1e-12)


def test_few_are_held_and_many_are_not() -> None:
    few = rows_of(np.arange(700))
    assert isinstance(held_if_few(few), np.ndarray)
    many = rows_of(np.zeros(MOST_BYTES_HELD // 8 // 5 + 1, np.int64))
    assert held_if_few(many) is many
    array = few.whole()
    assert held_if_few(array) is array
    assert [block is array for _, block in blocks_of(array)] == [True]


@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_regression_on_them_is_that_on_the_whole_array(num_classes: int) -> None:
    generator = np.random.default_rng(1)
    rows = generator.permutation(700)[:600]  # two blocks and a part
    targets, weights = generator.dirichlet(np.ones(num_classes), 600), generator.uniform(0.5, 1.5, 600)
    lazily, whole = (
        PenalisedRegression(features, targets, weights, 0.1)
        for features in (rows_of(rows), rows_of(rows).whole())
    )
    point = generator.normal(size=(1 if num_classes == 2 else num_classes, 6))
    loss, gradient = lazily.objective(point)
    # 1e-12: sums in another order
    assert loss == pytest.approx(whole.objective(point)[0], rel=1e-12)
    np.testing.assert_allclose(gradient, whole.objective(point)[1], rtol=0, atol=1e-12)
    solution, _ = lazily.solve(1e-9, 1000)
    np.testing.assert_allclose(solution, whole.solve(1e-9, 1000)[0], rtol=0, atol=1e-7)
    np.testing.assert_allclose(
        log_softmax(lazily.features, point), log_softmax(whole.features, point), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("num_classes", [2, 3])
def test_of_no_rows_there_are_no_probabilities(num_classes: int) -> None:
    """Few groups of uneven size leave a fold with nothing held out."""
    parameters = np.zeros((1 if num_classes == 2 else num_classes, 6))
    assert log_softmax(rows_of(np.zeros(0, np.int64)), parameters).shape == (0, num_classes)
