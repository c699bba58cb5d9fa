"""Decoding: one rule from an image file to upright 8-bit RGB, for training, evaluation and serving alike.

Knows no table, size or backbone: it never resizes.
"""

import functools
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from regraft.images.faults import SourceError
from regraft.images.shards import find_packed, read_packed

# Named, because Pillow's other plugins reach further than an image needs to: EPS starts Ghostscript.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS: Final = 89_478_485  # Pillow's own guard: 256 MiB of RGB
MAX_FILE_BYTES: Final = 2**30  # MAX_PIXELS of uncompressed 16-bit RGB would be half of it

_TRANSPOSE_OF_ORIENTATION: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; `reason` is short and the same on every machine."""

    def __init__(self, reason: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason if path is None else f"{os.fspath(path)}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB image, and what its file said it was."""

    image: Image.Image
    format: str
    mode: str
    is_animated: bool


def decode_rgb(path: str | os.PathLike[str]) -> Image.Image:
    """Decode an image file as `decode_rgb_bytes` does.

    Raises:
        UnreadableImageError: If the file cannot be read or decoded; the message starts with the path.
    """
    try:
        return decode(read_image_bytes(path)).image
    except UnreadableImageError as error:
        raise UnreadableImageError(error.reason, path) from error


def decode_rgb_bytes(data: bytes) -> Image.Image:
    """Decode the bytes of an image file to an upright image of mode RGB.

    The rule: the first frame; turned as its EXIF (or XMP, or TIFF) orientation says; transparent pixels over
    white; 16-bit grey scaled from [0, 65535], float grey from [0, 1]; palettes looked up; CMYK and YCbCr
    converted; colour profiles not applied. An orientation that cannot be parsed counts as upright, as in
    every viewer.

    Args:
        data: A whole file of one of `FORMATS`.

    Returns:
        Mode RGB, its size that of the upright image.

    Raises:
        UnreadableImageError: If the data are empty, truncated, damaged, of another format, of more than
            `MAX_PIXELS` (told from the header, before anything is unpacked), or of a mode without a defined
            scale to 8 bits.
    """
    return decode(data).image


def decode(data: bytes) -> DecodedImage:
    """Decode as `decode_rgb_bytes`, and keep the stored format and mode."""
    if not data:
        raise UnreadableImageError("empty file")
    stored_format = "image"
    try:
        with Image.open(io.BytesIO(data), formats=_supported_formats()) as image:
            stored_format, mode = image.format or "image", image.mode
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(_describe_bomb())
            image.load()
            is_animated = bool(getattr(image, "is_animated", False))
            rgb = _convert_to_rgb(_turn_upright(image))
            rgb.info = {}  # else it still says that it has to be turned
            return DecodedImage(rgb, stored_format, mode, is_animated)
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(f"no image of a known format ({', '.join(FORMATS)})") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(_describe_bomb()) from error
    except Exception as error:  # on damaged bytes Pillow's plugins raise nearly every kind there is
        raise UnreadableImageError(_describe_damage(error, stored_format)) from error


def read_image_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file, or one in shards, of at most `MAX_FILE_BYTES`, or UnreadableImageError."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            raise UnreadableImageError("not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise UnreadableImageError(f"larger than {MAX_FILE_BYTES} bytes")
        return Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if (data := _read_packed(path)) is not None:
            return data
        raise UnreadableImageError((error.strerror or type(error).__name__).lower()) from error
    except OSError as error:
        raise UnreadableImageError((error.strerror or type(error).__name__).lower()) from error


def _read_packed(path: str | os.PathLike[str]) -> bytes | None:
    """The bytes of a file that lies in shards; None if it does not."""
    try:
        if (found := find_packed(path)) is None:
            return None
        folder, file = found
        if file.num_bytes > MAX_FILE_BYTES:
            raise UnreadableImageError(f"larger than {MAX_FILE_BYTES} bytes")
        return read_packed(folder, file)
    except SourceError as error:
        raise UnreadableImageError(str(error)) from error


@functools.cache
def _supported_formats() -> tuple[str, ...]:
    """The formats that this build of Pillow has; asking it for one that it lacks is a KeyError."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _turn_upright(image: Image.Image) -> Image.Image:
    """`ImageOps.exif_transpose` without its rewriting of the EXIF block, which fails on damaged ones."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # any parse error of a block that the pixels do not need
        return image
    transpose = _TRANSPOSE_OF_ORIENTATION.get(orientation) if isinstance(orientation, int) else None
    return image if transpose is None else image.transpose(transpose)


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    """Every mode on purpose: Pillow's `convert` clips 16-bit grey and shows what lies under transparency."""
    mode = image.mode
    if mode.startswith("I;16"):
        return _rgb_of_grey(_scale_16_bit(np.asarray(image)))
    if mode == "I":
        return _rgb_of_grey(_scale_32_bit(np.asarray(image)))
    if mode == "F":
        return _rgb_of_grey(_scale_float(np.asarray(image)))
    if mode in ("La", "RGBa"):
        return _flatten_over_white(image.convert(mode.upper()))
    if mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") and image.has_transparency_data:
        return _flatten_over_white(image)
    if mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"):
        return image.convert("RGB")
    raise UnreadableImageError(f"mode {mode} has no defined way to 8-bit RGB")


def _flatten_over_white(image: Image.Image) -> Image.Image:
    """An image with transparency, laid over white."""
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba).convert("RGB")


def _scale_16_bit(grey: np.ndarray) -> np.ndarray:
    """[0, 65535] to [0, 255], rounded (65535 = 255 · 257), whatever range one image holds."""
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _scale_32_bit(grey: np.ndarray) -> np.ndarray:
    """Mode I is how Pillow hands out 16-bit PGM; a wider range says nothing about where white lies."""
    if grey.min() < 0 or grey.max() > 65535:
        raise UnreadableImageError("32-bit integers outside [0, 65535] have no defined scale to 8 bits")
    return _scale_16_bit(grey)


def _scale_float(grey: np.ndarray) -> np.ndarray:
    """[0, 1] to [0, 255], rounded; NaN is in no range."""
    if not (grey.min() >= 0.0 and grey.max() <= 1.0):
        raise UnreadableImageError("floats outside [0, 1] have no defined scale to 8 bits")
    return np.rint(grey.astype(np.float64) * 255.0).astype(np.uint8)


def _rgb_of_grey(grey: np.ndarray) -> Image.Image:
    """`(H, W)` uint8 as an image of mode RGB."""
    return Image.fromarray(grey).convert("RGB")


def _describe_bomb() -> str:
    """The header's own size is left out: it may be a lie, and the limit is what the user needs."""
    return f"more than {MAX_PIXELS} pixels"


def _describe_damage(error: Exception, stored_format: str) -> str:
    """Pillow's sentence where it is short and holds no address; else the format alone."""
    text = str(error)
    if "truncated" in text.lower():
        return f"truncated {stored_format} file"
    if isinstance(error, OSError) and text and " object at 0x" not in text:
        return f"damaged {stored_format} file ({text})"
    return f"damaged {stored_format} file"
