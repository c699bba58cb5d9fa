"""Series in a numbered sequence."""

import numpy as np

from regraft.images.runs import cut_into_runs


def series_of(lengths: list[int], generator: np.random.Generator) -> np.ndarray:
    """Noisy squares; each series has its own brightness and its own stripe."""
    squares = []
    for length in lengths:
        base = np.full((64, 64), generator.uniform(80, 180))
        base[generator.integers(5, 55) :][:6] += generator.uniform(20, 60)
        for _ in range(length):
            image = base + generator.normal(0, 8) + generator.normal(0, 10, (64, 64))
            squares.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(squares)


def test_borders_of_series_are_found() -> None:
    generator = np.random.default_rng(0)
    lengths = [40, 70, 30, 55]
    runs = cut_into_runs(series_of(lengths, generator), np.zeros(195, np.int64), generator)
    assert runs is not None
    starts = np.flatnonzero(np.diff(runs)) + 1
    for border in np.cumsum(lengths)[:-1]:
        assert np.abs(starts - border).min() <= 2
    assert len(starts) <= 5


def test_shuffled_images_are_one_run() -> None:
    generator = np.random.default_rng(1)
    squares = series_of([40, 70, 30, 55], generator)
    assert cut_into_runs(squares[generator.permutation(195)], np.zeros(195, np.int64), generator) is None


def test_a_listing_sorted_by_class_is_not_cut_into_its_classes() -> None:
    generator = np.random.default_rng(2)
    labels = np.repeat([0, 1], 80)
    squares = generator.normal(100, 20, (160, 64, 64)) + 60 * labels[:, None, None]
    assert cut_into_runs(np.clip(squares, 0, 255).astype(np.uint8), labels, generator) is None
