"""The nearest codes, without comparing all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regraft.images.neighbours import _least_of_rows, _order, find_neighbours


def eight(codes: np.ndarray) -> list[np.ndarray]:
    """The codes in eight orientations, of which only the upright one is near anything."""
    return [codes, *(codes + 100.0 * number for number in range(1, 8))]


def find(codes: list[np.ndarray], **changes: float) -> set[tuple[int, int, int]]:
    settings = {"radius": 0.5, "max_neighbours": 5, **changes}
    found = find_neighbours(codes, generator=np.random.default_rng(0), **settings)
    return set(zip(*(part.tolist() for part in found), strict=True))


def test_planted_neighbours_are_found_and_no_others() -> None:
    generator = np.random.default_rng(1)
    codes = generator.normal(0, 5, (3000, 16)).astype(np.float32)
    codes[1::100] = codes[::100] + 0.05
    pairs = find(eight(codes))
    assert pairs == {(number, number + 1, 0) for number in range(0, 3000, 100)}


def test_a_turned_neighbour_is_told_from_the_smaller_number() -> None:
    codes = np.float32([[0, 0], [50, 50], [90, 20]])
    orientations = eight(codes)
    orientations[5] = codes.copy()
    orientations[5][2] = [0.1, 0.1]  # image 2, turned to the right, is image 0
    orientations[5][:2] += 1000
    assert find(orientations) == {(0, 2, 6)}  # so image 0, turned to the left, is image 2


def test_only_the_nearest_few_are_kept() -> None:
    codes = np.linspace(0, 0.4, 40, dtype=np.float32)[:, None]
    pairs = find(eight(codes), max_neighbours=2)
    assert len(pairs) <= 80
    assert all(other - one <= 2 for one, other, _ in pairs)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_images_are_no_trouble(count: int) -> None:
    assert find(eight(np.zeros((count, 4), np.float32))) == ({(0, 1, 0)} if count == 2 else set())


def test_of_a_crowd_the_sixteen_nearest_are_kept() -> None:
    generator = np.random.default_rng(2)
    distances = generator.uniform(1.1, 2, (5, 40)).astype(np.float32)
    num_near = [0, 1, 16, 17, 40]
    for row, number in enumerate(num_near):
        near = generator.permutation(40)[:number]
        distances[row, near] = generator.uniform(0, 1, number)
    rows, columns = _least_of_rows(distances, 1.0)
    for row, number in enumerate(num_near):
        kept = columns[rows == row]
        assert len(kept) == len(set(kept)) == min(number, 16)
        assert sorted(kept) == sorted(np.argsort(distances[row])[: len(kept)])


@given(st.integers(0, 10**6), st.integers(0, 300))
def test_order_is_that_of_a_stable_sort(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    images, others = generator.integers(0, 5, (2, count))
    distances = generator.choice(np.float32([-1e-6, -0.0, 0, 1e-30, 0.5, 0.5000001, 3, 40]), count)
    np.testing.assert_array_equal(_order(images, others, distances), np.lexsort((others, distances, images)))
