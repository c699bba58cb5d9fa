"""Decoding: one rule from an image file to upright 8-bit sRGB, for training, evaluation and serving alike.

Knows no table, size or backbone: it never resizes. The rule by kinds of files: docs/images-read.md.
"""

import contextlib
import functools
import io
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from regraft.images import ways
from regraft.images.colour import convert_to_rgb, is_deep
from regraft.images.completeness import lacks_pixels, lacks_strips
from regraft.images.faults import SourceError, UnreadableImageError
from regraft.images.frames import count_frames
from regraft.images.jpeg import ends_early, read_jpeg_stream
from regraft.images.orientation import stored_orientation, turn_upright
from regraft.images.shards import find_packed, read_packed
from regraft.images.signatures import name_signature
from regraft.images.tiff import count_pieces
from regraft.images.ways import Way

__all__ = [
    "FORMATS", "MAX_FILE_BYTES", "MAX_PIXELS", "DecodedImage", "UnreadableImageError",
    "decode", "decode_rgb", "decode_rgb_bytes", "read_image_bytes", "upright_rgb",
]  # fmt: skip

# Named, because Pillow's other plugins reach further than an image needs to: EPS starts Ghostscript.
FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS: Final = 89_478_485  # Pillow's own guard: 256 MiB of RGB
MAX_FILE_BYTES: Final = 2**30  # MAX_PIXELS of uncompressed 16-bit RGB would be half of it
_MAX_SLOW_PIXELS: Final = 2**24  # by Pillow's decoders in Python, a second a million
_SLOW_CODECS: Final = {"bmp_rle", "ppm", "ppm_plain"}
_MAX_SCANS: Final = 200  # a progressive JPEG has ten; each goes over the whole image once more
_MAX_PIECES: Final = 100_000  # of a TIFF; Pillow makes objects of each, 100,000 a second
_LARGE_PIXELS: Final = 2**24  # such images are decoded one at a time, whatever the number of threads
_large_image: Final = threading.Lock()

# What Pillow says of damaged metadata goes to nobody in particular; what matters of it is recorded as a `Way`.
warnings.filterwarnings("ignore", module=r"PIL\.")

_PADDING: Final = b"\x00\r\n "
_REDUCED_COPY: Final = 254  # a tag of TIFF


@dataclass(frozen=True)
class DecodedImage:
    """An upright image, what its file said it was, and what was decided on the way."""

    image: Image.Image
    format: str
    mode: str
    ways: tuple[Way, ...]


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

    The rule: the first frame; turned as its EXIF (or XMP, or TIFF) orientation says; colours by the colour
    profile to sRGB; transparent pixels over white; grey of more than 8 bits by the whole range of its type,
    float grey from [0, 1]; palettes looked up; CMYK, YCbCr and LAB converted. An orientation that cannot be
    parsed counts as upright, as in every viewer.

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


def decode(data: bytes, *, keep_grey: bool = False) -> DecodedImage:
    """Decode as `decode_rgb_bytes`, and keep the stored format and mode, and what was decided.

    Args:
        data: A whole file.
        keep_grey: Leave grey of 8 bits without alpha or profile in its one band: mode L, quicker to resize.
    """
    if not data:
        raise UnreadableImageError("empty file")
    if count_pieces(data) > _MAX_PIECES:
        raise UnreadableImageError(f"a TIFF file of more than {_MAX_PIECES} strips or tiles")
    stored_format = None
    try:
        with Image.open(io.BytesIO(data), formats=_supported_formats()) as image:
            stored_format, mode = str(image.format), image.mode
            num_pixels = image.width * image.height
            _check_header(image, num_pixels)
            with _large_image if num_pixels > _LARGE_PIXELS else contextlib.nullcontext():
                was_deep, stored = is_deep(image), stored_orientation(image)
                taken = _load(image, data)
                upright, decided = _to_upright(image, was_deep=was_deep, stored=stored, keep_grey=keep_grey)
            if frames := count_frames(image, len(data)):
                taken.insert(0, Way(ways.FIRST_FRAME, frames))
            if colour := _only_colour(upright):
                decided.append(Way(ways.ONE_COLOUR, colour))
            return DecodedImage(upright, stored_format, mode, (*taken, *decided))
    except UnreadableImageError:
        raise
    except MemoryError as error:  # of damaged headers too
        raise UnreadableImageError("needs more memory than there is") from error
    except UnidentifiedImageError as error:
        raise UnreadableImageError(_describe_stranger(data)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(_describe_bomb()) from error
    except Exception as error:  # on damaged bytes Pillow's plugins raise nearly every kind there is
        raise UnreadableImageError(_describe_damage(error, stored_format or name_signature(data))) from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turn and convert an image that is open already, by the same rule.

    Raises:
        UnreadableImageError: If it cannot be loaded, or its mode has no defined scale to 8 bits.
    """
    try:
        was_deep, stored = is_deep(image), stored_orientation(image)
        image.load()
        return _to_upright(image, was_deep=was_deep, stored=stored, keep_grey=False)[0]
    except UnreadableImageError:
        raise
    except Exception as error:
        raise UnreadableImageError(_describe_damage(error, image.format)) from error


def read_image_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file, or one in shards, of at most `MAX_FILE_BYTES`, or UnreadableImageError."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
            raise UnreadableImageError("not a regular file")
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1) if status.st_size <= MAX_FILE_BYTES else b""
        if max(status.st_size, len(data)) > MAX_FILE_BYTES:
            raise UnreadableImageError(f"larger than {MAX_FILE_BYTES} bytes")
        return data
    except (FileNotFoundError, NotADirectoryError) as error:
        if (data_in_shard := _read_packed(path)) is not None:
            return data_in_shard
        if isinstance(error, NotADirectoryError):
            raise UnreadableImageError((error.strerror or "").lower()) from error
        is_link = Path(path).is_symlink()
        raise UnreadableImageError("a link that leads nowhere" if is_link else "not there") from error
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


def _check_header(image: Image.Image, num_pixels: int) -> None:
    """Refuse what would take too much memory or time, or show another picture, before any pixel is unpacked."""
    if num_pixels > MAX_PIXELS:
        raise UnreadableImageError(_describe_bomb())
    if num_pixels > _MAX_SLOW_PIXELS and any(tile[0] in _SLOW_CODECS for tile in image.tile):  # type: ignore[attr-defined]
        raise UnreadableImageError(
            f"more than {_MAX_SLOW_PIXELS} pixels as text, with odd levels or run lengths: store it as PNG"
        )
    kind = getattr(image, "tag_v2", {}).get(_REDUCED_COPY, 0)
    if isinstance(kind, int) and kind & 1:  # camera raw files are TIFFs that begin with a thumbnail
        raise UnreadableImageError("its first page is a small copy, as in camera raw files: convert it")


def _load(image: Image.Image, data: bytes) -> list[Way]:
    """Unpack the pixels; raises where they are not all there, which for JPEG Pillow does not always notice."""
    if image.format not in ("JPEG", "MPO"):
        has_all_strips = not lacks_strips(image)
        image.load()
        if not has_all_strips or lacks_pixels(image, data):
            raise UnreadableImageError(f"truncated {image.format} file")
        return []
    stream = read_jpeg_stream(data, max_scans=_MAX_SCANS)
    if stream.num_scans > _MAX_SCANS:
        raise UnreadableImageError(f"a JPEG file of more than {_MAX_SCANS} scans")
    image.load()
    if stream.end is None or ends_early(image, data, stream):
        raise UnreadableImageError("truncated JPEG file")
    taken = [Way(ways.COARSE)] if stream.is_coarse else []
    num_after = len(data[stream.end + 2 :].rstrip(_PADDING))
    if num_after and image.format == "JPEG":
        taken.append(Way(ways.BYTES_IGNORED, f"({num_after})"))
    return taken


def _to_upright(
    image: Image.Image, *, was_deep: bool, stored: object, keep_grey: bool
) -> tuple[Image.Image, list[Way]]:
    """Convert, then turn; the result has no metadata, else it still said that it has to be turned."""
    converted, decided = convert_to_rgb(image, was_deep=was_deep, keep_grey=keep_grey)
    upright, turned = turn_upright(converted, image, stored)
    upright.info = {}
    return upright, [*turned, *decided]


def _only_colour(image: Image.Image) -> str | None:
    """`(0, 0, 0)` if all pixels are of it; a few are looked at first."""
    for sample in (image.resize((8, 8), Image.Resampling.NEAREST), image):
        if any(low != high for low, high in (band.getextrema() for band in sample.split())):
            return None
    return str(image.convert("RGB").getpixel((0, 0)))


def _describe_stranger(data: bytes) -> str:
    """A file that no plugin opens: told by its first bytes."""
    name = name_signature(data)
    if name is None:
        return f"no image of a known format ({', '.join(FORMATS)})"
    if name not in FORMATS:
        return name
    if name not in _supported_formats():
        return f"{name} file, which this installation of Pillow cannot read"
    return f"damaged {name} file, or of a kind that Pillow cannot read"


def _describe_bomb() -> str:
    """The header's own size is left out: it may be a lie, and the limit is what the user needs."""
    return f"more than {MAX_PIXELS} pixels"


def _describe_damage(error: Exception, stored_format: str | None) -> str:
    """Pillow's sentence where it is short and holds no address; else the format alone."""
    text, stored_format = str(error), stored_format or "image"
    if "truncated" in text.lower():
        return f"truncated {stored_format} file"
    if isinstance(error, OSError) and text and " object at 0x" not in text:
        return f"damaged {stored_format} file ({text})"
    return f"damaged {stored_format} file"
