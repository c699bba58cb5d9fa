"""Writers of image files by hand, for the kinds that Pillow does not write: a few lines a format."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

Tags = dict[int, tuple[str, list[Any]]]

_TYPE_NUMBERS = {"B": 1, "H": 3, "I": 4, "Q": 16}


def encode(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    """As Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, format, **settings)
    return stream.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(pixels: np.ndarray, *, colour_type: int, bits: int = 8, chunks: bytes = b"") -> bytes:
    """`(H, W)` or `(H, W, C)` unsigned integers, as many bits each as their type has, unless `bits` packs them."""
    height, width = pixels.shape[:2]
    if bits < 8:
        pixels = np.packbits(
            np.unpackbits(pixels[..., None], axis=-1)[..., 8 - bits :].reshape(height, -1), axis=1
        )
    rows = b"".join(b"\x00" + row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels)
    return png_of_size(width, height, bits=bits, colour_type=colour_type, rows=rows, chunks=chunks)


def png_of_size(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour_type: int = 0,
    rows: bytes = b"",
    chunks: bytes = b"",
    interlace: int = 0,
) -> bytes:
    """A PNG that says it has this size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + chunks + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )  # fmt: skip


def interlaced_png(grey: np.ndarray) -> bytes:
    """8-bit grey in the seven passes of Adam7."""
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    rows = b"".join(
        b"\x00" + row.tobytes()
        for top, left, down, right in passes
        for row in grey[top::down, left::right]
        if row.size
    )
    return png_of_size(grey.shape[1], grey.shape[0], rows=rows, interlace=1)


def tiff(pixels: np.ndarray, *, photometric: int, extra: Tags | None = None, **changes: Any) -> bytes:
    """An uncompressed little-endian TIFF of one strip; sample format and bits follow from the type."""
    height, width = pixels.shape[:2]
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags: Tags = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [8 * pixels.dtype.itemsize] * samples),
        259: ("H", [1]), 262: ("H", [photometric]), 277: ("H", [samples]), 278: ("I", [height]),
        339: ("H", [kind] * samples),
    }  # fmt: skip
    return tiff_of(tags | (extra or {}), [pixels.tobytes()], **changes)


def tiff_of(tags: Tags, strips: list[bytes], *, next_page: int = 0) -> bytes:
    """A TIFF of any tags; the strips come first, then the page's table."""
    starts = [8 + sum(map(len, strips[:index])) for index in range(len(strips))]
    tags = {273: ("I", starts), 279: ("I", [len(strip) for strip in strips])} | tags
    table_at = 8 + sum(map(len, strips))
    table_at += table_at % 2
    values_at = table_at + 2 + 12 * len(tags) + 4
    table, values = b"", b""
    for number, (code, items) in sorted(tags.items()):
        packed = struct.pack(f"<{len(items)}{code}", *items)
        table += struct.pack("<HHI", number, _TYPE_NUMBERS[code], len(items))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\x00")
        else:
            table += struct.pack("<I", values_at + len(values))
            values += packed + b"\x00" * (len(packed) % 2)
    head = (b"II*\x00" + struct.pack("<I", table_at) + b"".join(strips)).ljust(table_at, b"\x00")
    return head + struct.pack("<H", len(tags)) + table + struct.pack("<I", next_page) + values


def bmp(
    width: int, height: int, data: bytes, *, bits: int, compression: int = 0, masks: bytes = b""
) -> bytes:
    """A BMP with a header of version 3, a grey palette up to 8 bits, and these bytes."""
    palette = b"".join(bytes([v, v, v, 0]) for v in range(256)) if bits <= 8 else b""
    start = 14 + 40 + len(masks) + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + header + masks + palette + data


def gif(frames: list[bytes], *, width: int, height: int) -> bytes:
    """A GIF89a of red and blue; `gif_frame` makes the frames."""
    return (
        b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes([255, 0, 0, 0, 0, 255])
        + b"".join(frames) + b";"
    )  # fmt: skip


def gif_frame(left: int, top: int, indices: list[list[int]]) -> bytes:
    """A frame of palette indices 0 and 1, each with a clear code before it: no table to keep."""
    codes = [code for row in indices for index in row for code in (4, index)] + [5]
    bits = "".join(f"{code:03b}"[::-1] for code in codes)
    data = bytes(int(bits[start : start + 8].ljust(8, "0")[::-1], 2) for start in range(0, len(bits), 8))
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    place = struct.pack("<HHHHB", left, top, len(indices[0]), len(indices), 0)
    return b"," + place + b"\x02" + blocks + b"\x00"


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapping_profile() -> bytes:
    """SRGB's profile with the primaries of red and blue exchanged: who applies it exchanges the channels."""
    profile = srgb_profile()
    table = (
        profile[128:].replace(b"rXYZ", b"tXYZ", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"tXYZ", b"bXYZ", 1)
    )
    return profile[:128] + table


def linear_grey_profile() -> bytes:
    """A profile of grey that is proportional to light."""
    header = bytearray(srgb_profile()[:128])
    header[16:20] = b"GRAY"
    white = b"XYZ \x00\x00\x00\x00" + struct.pack(">iii", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv\x00\x00\x00\x00" + struct.pack(">I", 0)
    start = 128 + 4 + 2 * 12
    table = struct.pack(">I4sII4sII", 2, b"wtpt", start, len(white), b"kTRC", start + len(white), len(curve))
    profile = bytes(header) + table + white + curve
    return struct.pack(">I", len(profile)) + profile[4:]
