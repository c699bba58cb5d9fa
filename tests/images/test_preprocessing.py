"""Fitting an image to the square that a backbone takes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from regraft.images.preprocessing import Preprocessing, apply


def preprocessing(**changes: Any) -> Preprocessing:
    values = {"size": 8, "resize_size": 10, "fit": "crop", "interpolation": "bilinear"}
    return Preprocessing(**{**values, "mean": (0.5,) * 3, "std": (0.5,) * 3, **changes})


def random_image(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from([(224, 256), (224, 224), (224, 232), (97, 113), (32, 33)]),
    st.sampled_from(["nearest", "box", "hamming", "bilinear", "bicubic", "lanczos"]),
)
def test_crop_gives_the_same_bytes_as_torchvision(
    width: int, height: int, sizes: tuple[int, int], interpolation: str
) -> None:
    size, resize_size = sizes
    image = random_image(width, height)
    reference = Compose(
        [Resize(resize_size, InterpolationMode(interpolation), antialias=True), CenterCrop(size)]
    )
    ours = apply(preprocessing(size=size, resize_size=resize_size, interpolation=interpolation), image)
    assert np.array_equal(ours, np.asarray(reference(image)))


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from(["crop", "stretch", "pad"]))
def test_the_result_is_always_a_contiguous_uint8_square(width: int, height: int, fit: str) -> None:
    array = apply(preprocessing(fit=fit), random_image(width, height))
    assert array.shape == (8, 8, 3)
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    assert array.flags.writeable


def test_crop_takes_the_middle() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = 200
    cropped = apply(preprocessing(size=4, resize_size=4), Image.fromarray(pixels))
    assert cropped.tolist() == np.full((4, 4, 3), 200).tolist()


def test_stretch_keeps_the_edges_that_crop_loses() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 0] = 255
    stretched = apply(
        preprocessing(size=4, resize_size=4, fit="stretch", interpolation="box"), Image.fromarray(pixels)
    )
    assert stretched[:, 0].max() == 128
    assert apply(preprocessing(size=4, resize_size=4), Image.fromarray(pixels)).max() == 0


def test_pad_puts_black_borders_around_the_whole_image() -> None:
    padded = apply(preprocessing(size=8, resize_size=8, fit="pad"), Image.new("RGB", (16, 8), (9, 9, 9)))
    assert padded[:2].max() == 0
    assert padded[6:].max() == 0
    assert padded[2:6].tolist() == np.full((4, 8, 3), 9).tolist()


def test_a_line_of_pixels_is_refused_for_crop_and_fits_with_pad() -> None:
    line = Image.new("RGB", (400_000, 1))
    with pytest.raises(ValueError, match="too long and narrow to crop"):
        apply(preprocessing(size=224, resize_size=256), line)
    assert apply(preprocessing(fit="pad"), line).shape == (8, 8, 3)


def test_images_that_were_not_decoded_to_rgb_are_refused() -> None:
    with pytest.raises(ValueError, match="got CMYK; decode them with decode_rgb"):
        apply(preprocessing(), Image.new("CMYK", (8, 8)))


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("interpolation", ["nearest", "box", "hamming", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(31, 17), (90, 200)])
def test_grey_is_fitted_as_the_rgb_image_that_it_stands_for(
    fit: str, interpolation: str, size: tuple[int, int]
) -> None:
    grey = random_image(*size).convert("L")
    fitting = preprocessing(fit=fit, interpolation=interpolation, size=24, resize_size=28)
    fitted = apply(fitting, grey)
    assert fitted.shape == (24, 24, 3)
    assert fitted.flags.c_contiguous
    assert np.array_equal(fitted, apply(fitting, grey.convert("RGB")))


@pytest.mark.parametrize(
    "change",
    [
        {"fit": "zoom"},
        {"interpolation": "sinc"},
        {"size": 0},
        {"resize_size": 7},
        {"std": (0.1, 0.1, 0.0)},
        {"x": 1},
    ],
)
def test_unknown_and_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        preprocessing(**change)


@pytest.mark.parametrize(
    ("fit", "change", "matters"),
    [
        ("stretch", {"resize_size": 12}, False),
        ("pad", {"resize_size": 12}, False),
        ("crop", {"resize_size": 12}, True),
        ("stretch", {"mean": (0.1, 0.2, 0.3)}, False),
        ("stretch", {"std": (0.1, 0.2, 0.3)}, False),
        ("stretch", {"size": 9}, True),
        ("stretch", {"interpolation": "bicubic"}, True),
        ("stretch", {"fit": "pad"}, True),
    ],
)
def test_what_pixels_follow_from_differs_where_they_do(
    fit: str, change: dict[str, Any], matters: bool
) -> None:
    before, after = preprocessing(fit=fit), preprocessing(**{"fit": fit, **change})
    image = random_image(31, 17)
    assert np.array_equal(apply(before, image), apply(after, image)) is not matters
    assert (before.spatial == after.spatial) is not matters
