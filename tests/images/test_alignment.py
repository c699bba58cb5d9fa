"""One thumbnail laid over another."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from regraft.images.alignment import IDENTITY, align, compare, tangent_distance
from regraft.images.copies import _shrink
from regraft.images.thumbnails import make_thumbnail

Draw = Callable[..., Image.Image]


def lay(first: Image.Image, second: Image.Image) -> tuple[float, np.ndarray, float]:
    """Difference, motion and gain after aligning, as the search does it."""
    squares = [make_thumbnail(image)[None] for image in (first, second)]
    small = [_shrink(square, 4, smooth=3.0) for square in squares]
    _, motion = tangent_distance(*small)
    motion = align(*(_shrink(square, 2, smooth=1.0) for square in squares), motion, num_steps=3)
    fine = [square.astype(np.float32) for square in squares]
    motion = align(*fine, motion, num_steps=2)
    difference, gain = compare(*fine, motion)
    return float(difference[0]), motion[0], float(gain[0])


def test_an_image_lies_on_itself(draw_picture: Draw) -> None:
    difference, motion, gain = lay(draw_picture(0), draw_picture(0))
    assert difference == pytest.approx(0, abs=1e-3)
    assert motion == pytest.approx(IDENTITY, abs=1e-3)
    assert gain == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("box", [(0, 0, 380, 285), (20, 15, 400, 300), (20, 15, 380, 285), (8, 0, 390, 300)])
def test_the_motion_of_a_crop_is_measured(draw_picture: Draw, box: tuple[int, int, int, int]) -> None:
    picture = draw_picture(1, size=(400, 300))
    difference, motion, _ = lay(picture, picture.crop(box))
    left, top, right, bottom = np.array(box) / (400, 300, 400, 300)
    expected = ((left + right - 1) / 2, right - left, (top + bottom - 1) / 2, bottom - top)
    assert motion == pytest.approx(expected, abs=0.004)  # a quarter of a pixel of the thumbnail
    assert difference < 0.06


def test_brightness_is_no_difference_but_another_picture_is(draw_picture: Draw) -> None:
    picture = draw_picture(2)
    darker = picture.point(lambda value: 0.6 * value + 20)
    difference, _, gain = lay(picture, darker)
    assert difference < 0.03
    assert gain == pytest.approx(0.6, abs=0.02)
    assert lay(picture, draw_picture(3))[0] > 0.4


def test_what_is_burnt_out_is_not_compared(draw_picture: Draw) -> None:
    picture = draw_picture(4)
    burnt = np.asarray(picture).copy()
    burnt[:40, 110:] = 255
    assert lay(picture, Image.fromarray(burnt))[0] < 0.1
    black = np.where(burnt == 255, 0, burnt)
    assert lay(picture, Image.fromarray(black))[0] > 0.3


def test_the_tangent_distance_tells_crops_from_others(draw_picture: Draw) -> None:
    pictures = [draw_picture(seed) for seed in range(20)]
    small = _shrink(np.stack([make_thumbnail(picture) for picture in pictures]), 4, smooth=3.0)
    crops = [picture.crop((4, 3, picture.width - 4, picture.height - 3)) for picture in pictures]
    cropped = _shrink(np.stack([make_thumbnail(crop) for crop in crops]), 4, smooth=3.0)
    assert (
        tangent_distance(small, cropped)[0].max() < 0.25 < tangent_distance(small[:-1], cropped[1:])[0].min()
    )
