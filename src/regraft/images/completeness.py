"""Completeness: pictures of which rows, strips or tiles are missing, which Pillow leaves black without a word.

JPEG has a module of its own. Decodes no pixel.
"""

import struct
import zlib
from typing import Any, Final

_WIDTH, _HEIGHT, _SAMPLES, _PLANAR = 256, 257, 277, 284  # tags of TIFF
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types
_ADAM7: Final = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_BYTES_AT_ONCE: Final = 2**20


def lacks_pixels(image: Any, data: bytes) -> bool:
    """Whether a file of Pillow's, loaded, holds fewer pixels than its header says."""
    if image.format == "PNG":
        return _ends_in_black(image) and _count_unpacked(data) < _count_expected(data)
    if image.format == "JPEG2000":
        return _lacks_tiles(data)
    return False


def lacks_strips(image: Any) -> bool:
    """The same of a TIFF that is open and not yet loaded; compressed ones libtiff checks itself."""
    if image.format != "TIFF" or any(tile[0] != "raw" for tile in image.tile):
        return False
    layers = image.tag_v2.get(_SAMPLES, 1) if image.tag_v2.get(_PLANAR) == 2 else 1
    width, height = image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]  # as stored, before it is turned
    covered = sum((right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in image.tile)
    return bool(covered < width * height * layers)


def _ends_in_black(image: Any) -> bool:
    """Whether one of the last two rows is: the last of each pass of an interlaced PNG is among them."""
    width, height = image.size
    return any(
        image.crop((0, row, width, row + 1)).getbbox(alpha_only=False) is None
        for row in range(max(0, height - 2), height)
    )


def _count_expected(data: bytes) -> int:
    """Bytes of all rows of a PNG before compression, each with one in front that tells its filter."""
    width, height, bits, colour_type, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    total = 0
    for top, left, down, right in passes:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * _CHANNELS[colour_type] // 8))
    return total


def _count_unpacked(data: bytes) -> int:
    """Bytes that a PNG's data unpack to, a part at a time."""
    unpacker, total, position = zlib.decompressobj(), 0, 8
    while position + 8 <= len(data) and not unpacker.eof:
        (length,) = struct.unpack_from(">I", data, position)
        if data[position + 4 : position + 8] == b"IDAT":
            packed = data[position + 8 : position + 8 + length]
            while packed:
                total += len(unpacker.decompress(packed, _BYTES_AT_ONCE))
                packed = unpacker.unconsumed_tail
        position += 12 + length
    return total + len(unpacker.flush())


def _lacks_tiles(data: bytes) -> bool:
    """Whether a tile of a JPEG 2000 code stream has no part."""
    start = data.find(b"\xff\x4f\xff\x51")
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", data, start + 8)
    num_tiles = -(-(right - left) // width) * -(-(bottom - top) // height)
    tiles: set[int] = set()
    position = start + 2
    while position + 12 <= len(data) and len(tiles) < num_tiles:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker == 0xFF90:
            tile, part_bytes = struct.unpack_from(">HI", data, position + 4)
            tiles.add(tile)
            if part_bytes == 0:  # to the end of the file
                break
            position += part_bytes
        else:
            position += 2 + length
    return bool(len(tiles) < num_tiles)
