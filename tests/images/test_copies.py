"""Planted copies are found, and nothing else."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regraft.images.copies import LOOSEST, STRICTEST, _choose_border, _linking_steps, find_near_copies
from regraft.images.thumbnails import ORIENTATIONS, make_thumbnail

Draw = Callable[..., Image.Image]


def encode(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def crop(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((round(0.03 * width), 0, width, round(0.95 * height)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded": encode,
    "cropped": crop,
    "cropped all around": lambda image: image.crop((8, 6, image.width - 8, image.height - 6)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "darker": lambda image: image.point(lambda value: 0.75 * value),
    "all of it": lambda image: encode(crop(image).transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
}


def pairs_of(images: list[Image.Image], **settings: Any) -> set[tuple[int, int]]:
    found = find_near_copies(np.stack([make_thumbnail(image) for image in images]), **settings)
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["draw_picture", "draw_cell"])
def test_copies_are_found_and_no_others(change: str, kind: str, request: pytest.FixtureRequest) -> None:
    draw: Draw = request.getfixturevalue(kind)
    originals = [draw(seed) for seed in range(60)]
    copies = [CHANGES[change](image) for image in originals[::3]]
    expected = {(number, 60 + number // 3) for number in range(0, 60, 3)}
    assert pairs_of([*originals, *copies]) == expected


def test_orientation_motion_and_gain_are_told(draw_picture: Draw) -> None:
    originals = [draw_picture(seed) for seed in range(10)]
    copy = crop(originals[4]).transpose(Image.Transpose.ROTATE_270).point(lambda value: 0.8 * value)
    found = find_near_copies(np.stack([make_thumbnail(image) for image in [*originals, copy]]))
    assert (found.first.tolist(), found.second.tolist()) == ([4], [10])
    assert ORIENTATIONS[found.orientation[0]] == "turned by 90° to the right"
    across, down = found.motion[0, 1], found.motion[0, 3]
    assert (across, down) == pytest.approx((0.95, 0.97), abs=0.01)  # the turn has swapped the sides
    assert found.gain[0] == pytest.approx(0.8, abs=0.03)


def test_the_next_picture_of_a_still_scene_is_no_copy_of_a_cell(draw_cell: Draw) -> None:
    """The same cell with one more dark spot: another cell from the same block of silicon looks like that."""
    cells = [draw_cell(seed) for seed in range(40)]
    spotted = np.asarray(cells[0]).copy()
    spotted[60:74, 100:110] = 80
    assert pairs_of([*cells, Image.fromarray(spotted)]) == set()


def test_flat_images_are_compared_with_none(draw_picture: Draw) -> None:
    flat = [Image.new("RGB", (50, 50), (grey, grey, grey)) for grey in (0, 1, 128, 255)]
    found = find_near_copies(np.stack([make_thumbnail(image) for image in [*flat, draw_picture(0)]]))
    assert found.is_flat.tolist() == [True] * 4 + [False]
    assert not len(found.first)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_images_are_no_trouble(count: int, draw_picture: Draw) -> None:
    images = [draw_picture(0)] * min(count, 2) + [draw_picture(9)] * (count > 2)
    thumbnails = np.array([make_thumbnail(image) for image in images], np.uint8).reshape(-1, 64, 64)
    found = find_near_copies(thumbnails)
    assert list(zip(found.first, found.second, strict=True)) == ([(0, 1)] if count > 1 else [])


def test_the_search_is_the_same_again(draw_cell: Draw) -> None:
    images = [draw_cell(seed) for seed in range(30)] + [encode(draw_cell(seed)) for seed in range(30)]
    thumbnails = np.stack([make_thumbnail(image) for image in images])
    one, two = find_near_copies(thumbnails), find_near_copies(thumbnails)
    np.testing.assert_array_equal(one.difference, two.difference)
    np.testing.assert_array_equal(one.first, two.first)


def test_copies_in_bright_colours_are_found_where_no_pictures_look_alike(draw_picture: Draw) -> None:
    """Brighter by a quarter: one channel after the other is clipped, so the grey values follow no curve."""
    originals = [draw_picture(seed) for seed in range(60)]
    copies = [image.point(lambda value: min(255, 1.25 * value)) for image in originals[::20]]
    assert pairs_of([*originals, *copies]) >= {(0, 60), (20, 61), (40, 62)}


def border_of(differences: list[float], *, num_images: int = 1000) -> float:
    """Of pairs that have no image in common."""
    first = np.arange(len(differences)) * 2
    return _choose_border(np.stack([first, first + 1]), np.array(differences), num_images)


@pytest.mark.parametrize(
    ("differences", "border"),
    [
        ([], LOOSEST),
        ([0.01, 0.05], LOOSEST),  # nobody looks alike
        ([0.01, 0.05, 0.4, 0.45, 0.5], 0.2),  # half of the least of others
        ([0.01, 0.1, 0.15, 0.4, 0.45], 0.2),  # copies that were changed more
        ([0.01, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35], STRICTEST),  # no gap
        ([0.01, 0.061, 0.07, 0.08], LOOSEST),  # changed more, and nobody looks alike
    ],
)
def test_the_border_lies_in_a_gap(differences: list[float], border: float) -> None:
    assert border_of(differences) == pytest.approx(border)


def test_where_many_pairs_lie_below_a_gap_they_look_alike_and_are_no_copies() -> None:
    few, many = [0.1] * 10, [0.1] * 200
    others = [0.5] * 100
    assert border_of([*few, *others]) == pytest.approx(0.25)
    assert border_of([*many, *others]) == STRICTEST


def test_a_copy_joins_by_its_smallest_step() -> None:
    """One picture, two copies of it that differ much from each other, and others beyond."""
    pairs = np.array([[0, 0, 1, 3, 3], [1, 2, 2, 4, 4]])
    differences = np.array([0.02, 0.1, 0.3, 0.4, 0.6])
    assert _linking_steps(pairs, differences, 6).tolist() == pytest.approx([0.02, 0.1, 0.4], abs=1e-6)
    assert _choose_border(pairs, differences, 1000) == pytest.approx(0.2)
