"""The square by which images are compared, and its eight flips and turns."""

import numpy as np
import pytest
from PIL import Image

from regraft.images.thumbnails import ORIENTATIONS, SIZE, invert, make_thumbnail, turn

TRANSPOSES = {
    "flipped left to right": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped top to bottom": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned by 180°": Image.Transpose.ROTATE_180,
    "flipped along the diagonal": Image.Transpose.TRANSPOSE,
    "turned by 90° to the right": Image.Transpose.ROTATE_270,
    "turned by 90° to the left": Image.Transpose.ROTATE_90,
    "flipped along the other diagonal": Image.Transpose.TRANSVERSE,
}


def test_any_image_becomes_a_grey_square() -> None:
    thumbnail = make_thumbnail(Image.new("RGB", (300, 20), (0, 255, 0)))
    assert thumbnail.shape == (SIZE, SIZE)
    assert thumbnail.dtype == np.uint8
    assert set(np.unique(thumbnail)) == {150}  # 0.587 of 255


@pytest.mark.parametrize(("brightest", "gain"), [(200, 1), (127, 2), (60, 4), (30, 8), (3, 8)])
def test_a_dark_image_is_doubled_until_it_is_not(brightest: int, gain: int) -> None:
    pixels = np.zeros((100, 100), np.uint8)
    pixels[:50] = brightest
    pixels[0, 0] = 255  # one hot pixel is not what the image shows
    thumbnail = make_thumbnail(Image.fromarray(pixels).convert("RGB"))
    assert thumbnail[20, 40] == gain * brightest


@pytest.mark.parametrize("name", TRANSPOSES)
def test_turns_are_called_what_pillow_does(name: str) -> None:
    square = np.arange(36, dtype=np.uint8).reshape(6, 6)
    expected = np.asarray(Image.fromarray(square).transpose(TRANSPOSES[name]))
    turned = turn(square[None], np.array([ORIENTATIONS.index(name)]))
    np.testing.assert_array_equal(turned[0], expected)


def test_every_turn_is_undone_by_its_inverse() -> None:
    square = np.arange(36).reshape(6, 6)
    orientations = np.arange(len(ORIENTATIONS))
    turned = turn(np.stack([square] * len(ORIENTATIONS)), orientations)
    for back in turn(turned, invert(orientations)):
        np.testing.assert_array_equal(back, square)
    assert len({piece.tobytes() for piece in turned}) == len(ORIENTATIONS)
