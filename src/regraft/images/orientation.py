"""Orientation: which way up the camera was held, as a file says it, and the image turned by it.

Knows no pixel's colour.
"""

import struct
from typing import Final

from PIL import ExifTags, Image

from regraft.images import ways
from regraft.images.ways import Way

_TRANSPOSE: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BYTE_ORDERS: Final = {b"II*\x00": "<", b"MM\x00*": ">"}


def stored_orientation(image: Image.Image) -> object:
    """What a TIFF says before it is loaded: loading turns it. None for other formats."""
    return getattr(image, "tag_v2", {}).get(ExifTags.Base.Orientation)


def turn_upright(rgb: Image.Image, image: Image.Image, stored: object) -> tuple[Image.Image, list[Way]]:
    """Turn an image as its file says; a block that cannot be parsed counts as upright, as in every viewer.

    `ImageOps.exif_transpose` would rewrite the EXIF block, which fails on damaged ones.

    Args:
        rgb: What to turn.
        image: The loaded file it was made from.
        stored: `stored_orientation` before it was loaded.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        is_broken = _is_cut(image.info.get("exif"))
    except Exception:  # any parse error of a block that the pixels do not need
        orientation, is_broken = None, True
    if isinstance(orientation, int) and orientation in _TRANSPOSE:
        return rgb.transpose(_TRANSPOSE[orientation]), [Way(ways.TURNED, f"from orientation {orientation}")]
    if isinstance(stored, int) and stored in _TRANSPOSE:
        return rgb, [Way(ways.TURNED, f"from orientation {stored}")]
    is_broken |= orientation not in (None, 1) or stored not in (None, 1)
    return rgb, [Way(ways.BROKEN_EXIF)] if is_broken else []


def _is_cut(exif: object) -> bool:
    """Whether the block's first table is not whole, of which Pillow reads what there is."""
    if not isinstance(exif, bytes):
        return False
    block = exif.removeprefix(b"Exif\x00\x00")
    order = _BYTE_ORDERS[block[:4]]
    start = struct.unpack_from(f"{order}I", block, 4)[0]
    (num_entries,) = struct.unpack_from(f"{order}H", block, start)
    return bool(start + 2 + 12 * num_entries > len(block))
