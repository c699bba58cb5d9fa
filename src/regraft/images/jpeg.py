"""JPEG: what libjpeg passes over in silence: data that end too early, others after the end, scans without number.

Knows nothing of colours or orientations.
"""

import io
import re
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageChops

# In compressed data a 0xFF is followed by 0 or a restart marker; anything else is a marker with a meaning.
_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_END, _SCAN = 0xD9, 0xDA
_PROGRESSIVE: Final = {0xC2, 0xC6, 0xCA, 0xCE}
_STANDALONE: Final = {0x01, 0xD8}
_OTHER_BYTES: Final = b"\x55" * 64
_ARITHMETIC: Final = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


@dataclass(frozen=True)
class JpegStream:
    """Structure of the first picture in a JPEG file.

    Attributes:
        num_scans: Passes over the image; one in a baseline file of few colours, about ten in a progressive
            one. Counting stops at `max_scans` + 1.
        end: Position of its end marker; None if there is none.
        is_huffman: Whether compressed by Huffman codes, as nearly all are.
        is_coarse: Whether scans of a progressive file are missing, so that the picture is whole but blurred.
    """

    num_scans: int
    end: int | None
    is_huffman: bool
    is_coarse: bool


def read_jpeg_stream(data: bytes, *, max_scans: int) -> JpegStream:
    """Walk over the markers; linear in the bytes, and never fails: damage shows as a missing end."""
    position, num_scans, is_huffman = 2, 0, True
    missing: dict[int, set[int]] = {}  # of a progressive file: coefficients not yet exact, by component
    while (match := _MARKER.search(data, position)) and num_scans <= max_scans:
        marker, position = match.group(1)[0], match.end()
        if marker == _END:
            return JpegStream(num_scans, match.start(), is_huffman, any(missing.values()))
        if marker in _STANDALONE:
            continue
        num_scans += marker == _SCAN
        if marker in _PROGRESSIVE:
            missing = {component: set(range(64)) for component in data[position + 8 : position + 17 : 3]}
        elif marker == _SCAN and missing:
            _strike_out(missing, data[position + 2 :][:16])
        is_huffman &= marker not in _ARITHMETIC
        position += int.from_bytes(data[position : position + 2], "big")
    return JpegStream(num_scans, None, is_huffman, any(missing.values()))


def _strike_out(missing: dict[int, set[int]], header: bytes) -> None:
    """Remove the coefficients that a scan makes exact; its header is that after the length."""
    end = 1 + 2 * header[0] if header else 0
    if 0 < end <= len(header) - 3 and header[end + 2] & 15 == 0:
        for component in header[1:end:2]:
            missing.get(component, set()).difference_update(range(header[end], header[end + 1] + 1))


def ends_early(image: Image.Image, data: bytes, stream: JpegStream) -> bool:
    """Whether compressed data are missing before the end marker, for which libjpeg paints one flat colour.

    Only a picture that is flat in its last corner can lack its end. Of such a one other bytes are put before the
    end marker: a complete picture does not read them. It costs a second decoding.

    Args:
        image: The loaded picture, as stored.
        data: The file.
        stream: Its structure, with an end.
    """
    if not stream.is_huffman or stream.end is None:  # arithmetic coding does read on
        return False
    width, height = image.size
    corner = image.crop(((width - 1) // 8 * 8, (height - 1) // 8 * 8, width, height))
    if any(low != high for low, high in (band.getextrema() for band in corner.split())):
        return False
    longer = data[: stream.end] + _OTHER_BYTES + b"\xff\xd9"
    with Image.open(io.BytesIO(longer), formats=("JPEG",)) as again:
        again.load()
        return ImageChops.difference(image, again).getbbox() is not None
