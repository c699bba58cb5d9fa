"""Preprocessing: the spatial half of a backbone's input contract, from an RGB image to a uint8 square.

Knows no backbone and no tensor: mean and std are carried along and applied at batch time, on the device.
"""

from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from regraft.images.decoding import MAX_PIXELS

Fit = Literal["crop", "stretch", "pad"]
Interpolation = Literal["nearest", "box", "hamming", "bilinear", "bicubic", "lanczos"]

_RESAMPLING: Final[dict[Interpolation, Image.Resampling]] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_Mean = Annotated[float, Field(ge=0.0, le=1.0)]
_Std = Annotated[float, Field(gt=0.0)]


class Preprocessing(BaseModel):
    """How an image becomes a backbone's input.

    Attributes:
        size: Height and width of the result, in pixels.
        resize_size: For `crop`: what the shorter side is resized to before the centre is cut out.
        fit: `crop` (as torchvision and timm evaluate), `stretch` (both sides to size, the ratio changes) or
            `pad` (longer side to size, black borders).
        interpolation: Pillow's filter, antialiased when shrinking.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=1, le=4096)
    resize_size: int = Field(ge=1, le=8192)
    fit: Fit
    interpolation: Interpolation
    mean: tuple[_Mean, _Mean, _Mean]
    std: tuple[_Std, _Std, _Std]

    @model_validator(mode="after")
    def _check_crop_lies_inside(self) -> Self:
        if self.resize_size < self.size:
            raise ValueError(
                f"resize_size {self.resize_size} is smaller than size {self.size}: nothing to crop from"
            )
        return self

    @property
    def spatial(self) -> str:
        """What pixels follow from, as JSON: neither mean nor std, nor `resize_size` where `fit` does not ask for it."""
        asked = {"size", "fit", "interpolation"} | ({"resize_size"} if self.fit == "crop" else set())
        return self.model_dump_json(include=asked)


def apply(preprocessing: Preprocessing, image: Image.Image) -> NDArray[np.uint8]:
    """Resize and fit an RGB image, or a grey one as the RGB image of three equal bands that it stands for.

    Args:
        preprocessing: What the backbone asks for.
        image: Mode RGB or L, upright, of any size.

    Returns:
        `(size, size, 3)` uint8 in [0, 255], C-contiguous. With fit `crop` the same bytes as torchvision's
        `Resize` and `CenterCrop` on the same Pillow image.

    Raises:
        ValueError: If the image is of another mode, or so long and narrow that resizing it would pass `MAX_PIXELS`.
    """
    fitted = fit(preprocessing, image)
    return np.repeat(fitted, 3, axis=2) if fitted.shape[2] == 1 else fitted


def fit(preprocessing: Preprocessing, image: Image.Image) -> NDArray[np.uint8]:
    """As `apply`, but `(size, size, 1)` of a grey image: what each of the three equal bands would be."""
    if image.mode not in ("RGB", "L"):
        raise ValueError(
            f"preprocessing takes images of mode RGB or L, got {image.mode}; decode them with decode_rgb"
        )
    fitted = np.array(_FITTED[preprocessing.fit](image, preprocessing), dtype=np.uint8)
    return fitted[:, :, None] if image.mode == "L" else fitted


def as_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """`(..., 1)` or `(..., 3)` as `(..., 3)`: for those who draw, a view."""
    return np.broadcast_to(pixels, (*pixels.shape[:-1], 3))


def _crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Torchvision's rounding: the longer side truncated, the crop's offset rounded half to even."""
    size, shorter = preprocessing.size, min(image.size)
    width, height = (int(preprocessing.resize_size * side / shorter) for side in image.size)
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{image.width}×{image.height} is too long and narrow to crop: resized, it would have "
            f"{width}×{height} pixels. Exclude the image, or set fit to 'pad' or 'stretch'."
        )
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    resized = _resize(image, width, height, preprocessing)
    return resized.crop((left, top, left + size, top + size))


def _stretch(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Both sides to size."""
    return _resize(image, preprocessing.size, preprocessing.size, preprocessing)


def _pad(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Longer side to size, in the middle of a black square."""
    size, longer = preprocessing.size, max(image.size)
    width, height = (max(1, round(size * side / longer)) for side in image.size)
    square = Image.new(image.mode, (size, size))
    square.paste(_resize(image, width, height, preprocessing), ((size - width) // 2, (size - height) // 2))
    return square


def _resize(image: Image.Image, width: int, height: int, preprocessing: Preprocessing) -> Image.Image:
    """Pillow's resize, which is antialiased."""
    return image.resize((width, height), _RESAMPLING[preprocessing.interpolation])


_FITTED: Final = {"crop": _crop, "stretch": _stretch, "pad": _pad}
