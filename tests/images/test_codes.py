"""Numbers that stay near when an image is copied."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from regraft.images.codes import code_orientations, learn_coding
from regraft.images.thumbnails import ORIENTATIONS, make_thumbnail, turn


def thumbnails_of(draw: Callable[..., Image.Image], count: int) -> np.ndarray:
    return np.stack([make_thumbnail(draw(seed)) for seed in range(count)])


def test_the_code_of_a_turned_image_is_the_turned_code(draw_cell: Callable[..., Image.Image]) -> None:
    thumbnails = thumbnails_of(draw_cell, 40)
    coding = learn_coding(thumbnails, np.random.default_rng(0))
    for orientation, codes in enumerate(code_orientations(thumbnails, coding)):
        turned = turn(thumbnails, np.full(len(thumbnails), orientation))
        upright = code_orientations(turned, coding)[0][:]
        np.testing.assert_allclose(codes[:], upright, atol=1e-3 * np.abs(upright).max())
    assert orientation == len(ORIENTATIONS) - 1


def test_a_crop_is_nearer_than_the_other_cells_though_all_share_the_bars(
    draw_cell: Callable[..., Image.Image],
) -> None:
    cells = [draw_cell(seed) for seed in range(60)]
    crops = [cell.crop((0, 7, 143, 150)) for cell in cells]
    thumbnails = np.stack([make_thumbnail(image) for image in [*cells, *crops]])
    coding = learn_coding(thumbnails, np.random.default_rng(0))
    codes = code_orientations(thumbnails, coding)[0][:]
    distances = ((codes[60:, None] - codes[None, :60]) ** 2).sum(axis=2)
    ranks = (distances < np.diag(distances)[:, None]).sum(axis=1)
    assert (ranks < 3).mean() > 0.95
    assert (np.diag(distances) <= coding.radius).mean() > 0.95
    plain = thumbnails.reshape(120, -1).astype(float)
    pixels = ((plain[60:, None] - plain[None, :60]) ** 2).sum(axis=2)
    assert ((pixels < np.diag(pixels)[:, None]).sum(axis=1) < 3).mean() < 0.75  # what the learning is for


def test_coding_is_the_same_again(draw_picture: Callable[..., Image.Image]) -> None:
    thumbnails = thumbnails_of(draw_picture, 12)
    one, two = (learn_coding(thumbnails, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.weights, two.weights)
    assert one.radius == two.radius
