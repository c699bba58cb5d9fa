import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_sample_weight

from regraft.training.balance import draw_order, even_weights, learning_shares, measuring_weights

some_labels = st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array)


@given(some_labels)
def test_even_weights_are_scikit_learns(labels: np.ndarray) -> None:
    np.testing.assert_allclose(even_weights(labels), compute_sample_weight("balanced", labels), rtol=1e-12)


def test_weights_are_in_the_loss_and_a_sampler_in_the_draws() -> None:
    labels = np.array([0, 0, 0, 1])
    even, ones = [2 / 3, 2 / 3, 2 / 3, 2], [1, 1, 1, 1]
    for balance, weights, draws in (
        ("none", ones, ones),
        ("class_weights", even, ones),
        ("balanced_sampler", ones, even),
    ):
        shares = learning_shares(labels, balance)
        np.testing.assert_allclose(shares.weights, weights)
        np.testing.assert_allclose(shares.draws, draws)
        np.testing.assert_allclose(measuring_weights(labels, balance), ones if balance == "none" else even)


@given(some_labels, st.integers(0, 2**32 - 1))
def test_a_sampler_draws_every_class_as_often_and_no_image_twice_more_than_another(
    labels: np.ndarray, seed: int
) -> None:
    draws = even_weights(labels)
    order = draw_order(draws, np.random.default_rng(seed))
    assert len(order) == len(labels)
    times = np.bincount(order, minlength=len(labels))
    assert (np.abs(times - draws) < 1).all()
    present, counts = np.unique(labels, return_counts=True)
    # classes of equal size share their place in the listing, and may trade single draws
    for size in set(counts.tolist()):
        alike = np.isin(labels, present[counts == size])
        assert abs(times[alike].sum() - draws[alike].sum()) < 1 + 1e-9


def test_what_a_sampler_draws_changes_from_epoch_to_epoch() -> None:
    draws = even_weights(np.array([0] * 30 + [1] * 10))
    first, second = (
        np.bincount(draw_order(draws, np.random.default_rng(seed)), minlength=40) for seed in (0, 1)
    )
    assert first[:30].sum() == second[:30].sum() == 20
    assert (first != second).any()


def test_without_a_sampler_the_order_is_the_plain_permutation() -> None:
    order = draw_order(np.ones(50), np.random.default_rng(7))
    assert order.tolist() == np.random.default_rng(7).permutation(50).tolist()
    assert pytest.approx(1) == even_weights(order % 2).mean()
