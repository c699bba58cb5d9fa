"""TIFF: how many pieces its first picture lies in, told before Pillow makes an object of each.

Reads one table, and no pixel.
"""

import struct
from typing import Final

_STRIPS, _TILES = 273, 324
# By the first four bytes: byte order, where the table begins, its length, an entry's tag, count and size.
_LAYOUTS: Final = {
    b"II*\x00": ("<", 4, "I", "H", "HxxI", 12),
    b"MM\x00*": (">", 4, "I", "H", "HxxI", 12),
    b"II+\x00": ("<", 8, "Q", "Q", "HxxQ", 20),
    b"MM\x00+": (">", 8, "Q", "Q", "HxxQ", 20),
}


def count_pieces(data: bytes) -> int:
    """Strips or tiles of the first page; 0 where the file is no TIFF or its table is damaged."""
    if (layout := _LAYOUTS.get(data[:4])) is None:
        return 0
    order, start_at, start_type, length_type, entry, entry_bytes = layout
    try:
        (start,) = struct.unpack_from(order + start_type, data, start_at)
        (num_entries,) = struct.unpack_from(order + length_type, data, start)
        first = start + struct.calcsize(order + length_type)
        counts = [0]
        for index in range(min(num_entries, 2**16)):
            tag, count = struct.unpack_from(order + entry, data, first + index * entry_bytes)
            if tag in (_STRIPS, _TILES):
                counts.append(count)
        return max(counts)
    except (struct.error, OverflowError):
        return 0
