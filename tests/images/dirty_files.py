"""The collection of dirty files: every kind of file met in the wild, each with what must come of it.

`python tests/images/dirty_files.py FOLDER` writes the files; `--table` prints the table of docs/images-read.md.
"""

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from image_bytes import (
    bmp,
    encode,
    exif_of,
    gif,
    gif_frame,
    interlaced_png,
    linear_grey_profile,
    png,
    png_chunk,
    png_of_size,
    srgb_profile,
    swapping_profile,
    tiff,
    tiff_of,
)
from PIL import Image

HEIGHT, WIDTH = 24, 40
_ACROSS, _DOWN = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
# Smooth, so that lossy formats keep it; no two corners alike; the last corner not flat.
PICTURE = np.stack([6 * _ACROSS, 10 * _DOWN, 255 - 3 * (_ACROSS + _DOWN)], axis=-1).astype(np.uint8)
GREY = PICTURE[..., 0] // 2 + PICTURE[..., 1] // 2
BLACK_AND_WHITE = np.where(GREY > 99, 255, 0).astype(np.uint8)
ALPHA = np.where(_ACROSS < WIDTH // 2, 255, 0).astype(np.uint8)
ON_WHITE = np.where(ALPHA[..., None] == 255, PICTURE, 255).astype(np.uint8)
EXACT, LOSSY = 0, 12


@dataclass(frozen=True)
class DirtyFile:
    """A file, and what reading it must give.

    Attributes:
        name: File name.
        what: What it is, in the words of the docs.
        data: Its bytes.
        ways: What is recorded of a file that is read.
        pixels: `(H, W, 3)` that it must give; None where only its size and that it is read count.
        tolerance: Largest difference allowed in a pixel.
        reason: Of a refusal; None for a file that is read.
    """

    name: str
    what: str
    data: bytes
    ways: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    tolerance: int = EXACT
    reason: str | None = None

    @property
    def group(self) -> str:
        """Heading in the docs: the folder that it lies in."""
        return self.name.split("/")[0]


def read(
    name: str, what: str, data: bytes, pixels: np.ndarray | None, *ways: str, tolerance: int = EXACT
) -> DirtyFile:
    """A file that is read."""
    if pixels is not None and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=-1)
    return DirtyFile(name, what, data, ways, pixels, tolerance)


def refused(name: str, what: str, data: bytes, reason: str) -> DirtyFile:
    """A file that is refused."""
    return DirtyFile(name, what, data, reason=reason)


def dirty_files() -> list[DirtyFile]:
    """The whole collection, by group."""
    groups = (_jpeg, _orientations, _png, _depths, _gif, _tiff, _webp, _other_formats, _bombs, _strangers)
    return [file for group in groups for file in group()]


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels)


def _jpeg_bytes(pixels: np.ndarray = PICTURE, **settings: object) -> bytes:
    return encode(_image(pixels), "JPEG", **{"quality": 95, "subsampling": 0, **settings})


def _cmyk() -> np.ndarray:
    """PICTURE as inks without black."""
    return np.concatenate([255 - PICTURE, np.zeros((HEIGHT, WIDTH, 1), np.uint8)], axis=-1)


def _without_segment(jpeg: bytes, marker: bytes) -> bytes:
    start = jpeg.index(b"\xff" + marker)
    (length,) = struct.unpack_from(">H", jpeg, start + 2)
    return jpeg[:start] + jpeg[start + 2 + length :]


def _ycck() -> bytes:
    """The three inks as YCbCr, which only the byte after `Adobe` tells."""
    ycc = np.asarray(_image(255 - PICTURE).convert("YCbCr"))
    stored = np.concatenate(
        [255 - ycc, np.zeros((HEIGHT, WIDTH, 1), np.uint8)], axis=-1
    )  # Pillow inverts them
    data = bytearray(encode(Image.fromarray(stored, "CMYK"), "JPEG", quality=95, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def _jpeg() -> Iterator[DirtyFile]:
    plain, cmyk = _jpeg_bytes(), encode(Image.fromarray(_cmyk(), "CMYK"), "JPEG", quality=95, subsampling=0)
    lossy = {"tolerance": LOSSY}
    yield read("JPEG/plain.jpg", "a plain one", plain, PICTURE, **lossy)
    yield read("JPEG/progressive.jpg", "progressive", _jpeg_bytes(progressive=True), PICTURE, **lossy)
    yield read("JPEG/grey.jpg", "grey", _jpeg_bytes(GREY), GREY, **lossy)
    yield read(
        "JPEG/subsampled.jpg", "colour at half resolution", _jpeg_bytes(subsampling=2), PICTURE, tolerance=30
    )
    yield read("JPEG/cmyk.jpg", "CMYK, inverted as Adobe writes it", cmyk, PICTURE, "CMYK converted", **lossy)
    without = _without_segment(cmyk, b"\xee")
    yield read(
        "JPEG/cmyk_no_adobe.jpg", "CMYK without Adobe's marker", without, PICTURE, "CMYK converted", **lossy
    )
    yield read("JPEG/ycck.jpg", "YCCK", _ycck(), PICTURE, "CMYK converted", **lossy)
    trailing = "bytes after the end ignored (999)"
    yield read(
        "JPEG/trailing.jpg",
        "other bytes after its end",
        plain + b"video" * 199 + b"tail",
        PICTURE,
        trailing,
        **lossy,
    )
    yield read("JPEG/padded.jpg", "zero bytes after its end", plain + bytes(512), PICTURE, **lossy)
    mpo = encode(
        _image(PICTURE),
        "MPO",
        save_all=True,
        append_images=[_image(255 - PICTURE)],
        quality=95,
        subsampling=0,
    )
    yield read("JPEG/two.mpo", "two pictures (MPO: stereo, depth)", mpo, PICTURE, "first frame of 2", **lossy)
    profile = {"icc_profile": srgb_profile()}
    yield read("JPEG/srgb.jpg", "the colour profile of sRGB", _jpeg_bytes(**profile), PICTURE, **lossy)
    profile = {"icc_profile": swapping_profile()}
    swapped, applied = PICTURE[..., ::-1], "colour profile applied"
    yield read(
        "JPEG/profile.jpg", "another colour profile", _jpeg_bytes(**profile), swapped, applied, **lossy
    )
    wrong = _jpeg_bytes(icc_profile=linear_grey_profile())
    yield read(
        "JPEG/wrong_profile.jpg",
        "a colour profile for another mode",
        wrong,
        PICTURE,
        "colour profile ignored (for GRAY)",
        **lossy,
    )
    broken = _jpeg_bytes(icc_profile=b"no profile" * 30)
    yield read(
        "JPEG/broken_profile.jpg",
        "a damaged colour profile",
        broken,
        PICTURE,
        "colour profile ignored (damaged)",
        **lossy,
    )
    for name, block in {
        "letters": b"Exif\x00\x00XX\x00\x2a" + b"\xff" * 8,
        "cut": b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01\x03\x00",
        "far": b"Exif\x00\x00II*\x00\xff\xff\xff\x7f",
        "empty": b"Exif\x00\x00",
    }.items():
        data = _jpeg_bytes(exif=block)
        yield read(
            f"JPEG/exif_{name}.jpg", f"broken EXIF ({name})", data, PICTURE, "broken EXIF ignored", **lossy
        )
    half = plain[: len(plain) * 3 // 4]  # the first half is header
    yield refused("JPEG/half.jpg", "cut in half", half, "truncated JPEG file")
    yield refused(
        "JPEG/half_ended.jpg", "cut in half, with an end put on", half + b"\xff\xd9", "truncated JPEG file"
    )
    yield refused(
        "JPEG/half_zeros.jpg",
        "cut in half, zero bytes in place of the rest",
        half + bytes(len(half)),
        "truncated JPEG file",
    )
    yield refused("JPEG/no_end.jpg", "without its end marker", plain[:-2], "truncated JPEG file")
    progressive = _jpeg_bytes(progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    yield read(
        "JPEG/coarse.jpg", "progressive, its last scan missing", progressive[:last_scan] + b"\xff\xd9", PICTURE,
        "last scans missing", tolerance=40,
    )  # fmt: skip
    frame = plain.index(b"\xff\xc0")
    odd = "damaged JPEG file, or of a kind that Pillow cannot read"
    yield refused(
        "JPEG/12_bit.jpg", "12 bits a channel", plain[: frame + 4] + b"\x0c" + plain[frame + 5 :], odd
    )
    no_tables = _without_segment(_without_segment(plain, b"\xdb"), b"\xdb")
    yield refused(
        "JPEG/no_tables.jpg",
        "a table missing",
        no_tables,
        "damaged JPEG file (broken data stream when reading image file)",
    )


def _orientations() -> Iterator[DirtyFile]:
    turns = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, 3), 7: lambda p: np.rot90(p.transpose(1, 0, 2), 2), 8: np.rot90,
    }  # fmt: skip
    for number, turn in turns.items():
        ways = [f"turned upright from orientation {number}"] if number > 1 else []
        data = _jpeg_bytes(exif=exif_of(number))
        yield read(
            f"EXIF orientation/{number}.jpg", f"{number} (JPEG)", data, turn(PICTURE), *ways, tolerance=LOSSY
        )
    way, turned = "turned upright from orientation 6", np.rot90(PICTURE, 3)
    for format, settings in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
        data = encode(_image(PICTURE), format, exif=exif_of(6), **settings)
        yield read(f"EXIF orientation/6.{format.lower()}", f"6 ({format})", data, turned, way)
    packed = encode(_image(PICTURE), "TIFF", exif=exif_of(6), compression="tiff_lzw")
    yield read("EXIF orientation/6_lzw.tif", "6 (TIFF, compressed)", packed, turned, way)
    avif = encode(_image(PICTURE), "AVIF", exif=exif_of(6), quality=100, subsampling="4:4:4")
    yield read("EXIF orientation/6.avif", "6 (AVIF)", avif, turned, way, tolerance=LOSSY)
    data = _jpeg_bytes(exif=exif_of(9))
    yield read(
        "EXIF orientation/9.jpg", "9, which is none", data, PICTURE, "broken EXIF ignored", tolerance=LOSSY
    )


def _png() -> Iterator[DirtyFile]:
    rgba = np.dstack([PICTURE, ALPHA])
    over = "alpha over white"
    yield read("PNG/rgb.png", "RGB", encode(_image(PICTURE)), PICTURE)
    yield read("PNG/grey.png", "grey", encode(_image(GREY)), GREY)
    yield read("PNG/1_bit.png", "1 bit", encode(_image(BLACK_AND_WHITE).convert("1")), BLACK_AND_WHITE)
    for bits in (2, 4):
        levels = GREY >> (8 - bits)
        spread = (levels.astype(int) * 255 // (2**bits - 1)).astype(np.uint8)
        yield read(f"PNG/{bits}_bit.png", f"{bits} bits", png(levels, colour_type=0, bits=bits), spread)
    indexed = _image(PICTURE).quantize(256)
    yield read("PNG/palette.png", "palette", encode(indexed), np.asarray(indexed.convert("RGB")))
    red_or_blue = np.where(ALPHA[..., None] == 255, [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    two = _image(red_or_blue).quantize(2)
    blue = two.getpixel((WIDTH - 1, 0))
    on_white = np.where(ALPHA[..., None] == 255, [255, 0, 0], 255).astype(np.uint8)
    yield read(
        "PNG/palette_clear.png",
        "palette with a transparent colour",
        encode(two, transparency=blue),
        on_white,
        over,
    )
    yield read("PNG/rgba.png", "RGB with alpha", encode(_image(rgba)), ON_WHITE, over)
    la = np.dstack([GREY, ALPHA])
    yield read(
        "PNG/grey_alpha.png",
        "grey with alpha",
        encode(Image.fromarray(la, "LA")),
        np.where(ALPHA == 255, GREY, 255).astype(np.uint8),
        over,
    )
    yield read(
        "PNG/opaque.png",
        "alpha that hides nothing",
        encode(_image(np.dstack([PICTURE, np.full_like(ALPHA, 255)]))),
        PICTURE,
    )
    key = struct.pack(">HHH", *PICTURE[0, 0].tolist())
    cleared = PICTURE.copy()
    cleared[0, 0] = 255
    yield read(
        "PNG/clear_colour.png",
        "one colour transparent",
        png(PICTURE, colour_type=2, chunks=png_chunk(b"tRNS", key)),
        cleared,
        over,
    )
    yield refused(
        "PNG/clear.png",
        "wholly transparent",
        encode(_image(np.dstack([PICTURE, np.zeros_like(ALPHA)]))),
        "wholly transparent: there is nothing to see",
    )
    yield read("PNG/interlaced.png", "interlaced", interlaced_png(GREY), GREY)
    dark = np.where(_DOWN < 12, GREY, 0).astype(np.uint8)
    yield read("PNG/interlaced_black.png", "interlaced, black below", interlaced_png(dark), dark)
    whole = interlaced_png(GREY)
    yield refused(
        "PNG/interlaced_cut.png", "interlaced, cut off", whole[: len(whole) * 3 // 4], "truncated PNG file"
    )
    frames = [_image(PICTURE), _image(255 - PICTURE), _image(PICTURE // 2)]
    yield read(
        "PNG/animated.png",
        "animated",
        encode(frames[0], save_all=True, append_images=frames[1:]),
        PICTURE,
        "first frame of 3",
    )
    black = np.zeros((HEIGHT, WIDTH), np.uint8)
    yield read("PNG/black.png", "one colour only", encode(_image(black)), black, "one colour (0, 0, 0)")
    linear = png(GREY, colour_type=0, chunks=png_chunk(b"gAMA", struct.pack(">I", 100_000)))
    lighter = np.rint(255 * (GREY / 255) ** (1 / 2.2)).astype(np.uint8)
    yield read("PNG/linear.png", "gamma 1", linear, lighter, "PNG gamma applied 1", tolerance=1)
    usual = png(GREY, colour_type=0, chunks=png_chunk(b"gAMA", struct.pack(">I", 45_455)))
    yield read("PNG/gamma.png", "the usual gamma", usual, GREY)
    swapped = encode(_image(PICTURE), icc_profile=swapping_profile())
    yield read(
        "PNG/profile.png",
        "a colour profile",
        swapped,
        PICTURE[..., ::-1],
        "colour profile applied",
        tolerance=2,
    )
    grey = encode(_image(GREY), icc_profile=linear_grey_profile())
    light = GREY / 255
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    yield read(
        "PNG/grey_profile.png",
        "a colour profile of grey",
        grey,
        np.rint(255 * srgb).astype(np.uint8),
        "colour profile applied",
        tolerance=2,
    )
    plain = encode(_image(GREY))
    yield refused("PNG/half.png", "cut in half", plain[: len(plain) // 2], "truncated PNG file")
    damaged = bytearray(plain)
    damaged[-24] ^= 0xFF
    yield refused(
        "PNG/damaged.png",
        "a wrong checksum",
        bytes(damaged),
        "damaged PNG file (broken data stream when reading image file)",
    )
    yield read("PNG/no_end.png", "all pixels there, the end mark not", plain[:-12], GREY)
    yield refused(
        "PNG/few_rows.png",
        "half its rows",
        png_of_size(40, 24, rows=(b"\0" + bytes([77] * 40)) * 12),
        "truncated PNG file",
    )
    yield refused(
        "PNG/zero.png",
        "no pixel wide",
        png_of_size(0, 9),
        "damaged PNG file, or of a kind that Pillow cannot read",
    )
    yield read("PNG/named.jpg", "named .jpg", encode(_image(PICTURE)), PICTURE)


def _depths() -> Iterator[DirtyFile]:
    wide = GREY.astype(np.uint16) * 257
    wide_rgb = PICTURE.astype(np.uint16) * 257
    scaled, floats = "scaled to 8 bits from 16 bits", (GREY / 255).astype(np.float32)
    black = "nearly black: its brightest value is {} on a scale to 65535; scale it up"
    yield read(
        "More than 8 bits/grey.png", "16-bit grey PNG", png(wide, colour_type=0, bits=16), GREY, scaled
    )
    yield read(
        "More than 8 bits/rgb.png", "16-bit RGB PNG", png(wide_rgb, colour_type=2, bits=16), PICTURE, scaled
    )
    la = np.dstack([wide, ALPHA.astype(np.uint16) * 257])
    on_white = np.where(ALPHA == 255, GREY, 255).astype(np.uint8)
    over = "alpha over white"
    yield read(
        "More than 8 bits/grey_alpha.png",
        "16-bit grey PNG with alpha",
        png(la, colour_type=4, bits=16),
        on_white,
        scaled,
        over,
    )
    clear = png_chunk(b"tRNS", struct.pack(">H", int(wide[0, 0])))
    cleared = np.where(wide == wide[0, 0], 255, GREY).astype(np.uint8)
    yield read(
        "More than 8 bits/clear.png",
        "16-bit grey PNG, one value transparent",
        png(wide, colour_type=0, bits=16, chunks=clear),
        cleared,
        scaled,
        over,
    )
    clear = png_chunk(b"tRNS", struct.pack(">HHH", *wide_rgb[0, 0].tolist()))
    cleared = PICTURE.copy()
    cleared[0, 0] = 255
    yield read(
        "More than 8 bits/clear_rgb.png",
        "16-bit RGB PNG, one colour transparent",
        png(wide_rgb, colour_type=2, bits=16, chunks=clear),
        cleared,
        scaled,
        over,
    )
    twelve = wide >> 4
    yield refused(
        "More than 8 bits/12_in_16.png",
        "16-bit grey PNG that uses 12 bits",
        png(twelve, colour_type=0, bits=16),
        black.format(twelve.max()),
    )
    yield refused(
        "More than 8 bits/12_in_16_rgb.png",
        "16-bit RGB PNG that uses 12 bits",
        png(wide_rgb >> 4, colour_type=2, bits=16),
        "nearly black: its brightest value is below 4096 on a scale to 65535; scale it up",
    )
    thermal = (8000 + 4 * GREY.astype(np.uint16)).astype(np.uint16)
    yield read(
        "More than 8 bits/low_contrast.png",
        "16-bit grey PNG of little contrast",
        png(thermal, colour_type=0, bits=16),
        np.rint(thermal / 257).astype(np.uint8),
        scaled,
        f"low contrast ({round(thermal.max() / 257) - round(thermal.min() / 257) + 1} of 256 greys)",
    )
    zeros = np.zeros_like(wide)
    yield read(
        "More than 8 bits/black.png",
        "16-bit grey PNG, all zero",
        png(zeros, colour_type=0, bits=16),
        zeros.astype(np.uint8),
        scaled,
        "one colour (0, 0, 0)",
    )
    yield read("More than 8 bits/grey.tif", "16-bit grey TIFF", tiff(wide, photometric=1), GREY, scaled)
    yield read(
        "More than 8 bits/white_is_zero.tif",
        "16-bit grey TIFF, white is zero",
        tiff(65535 - wide, photometric=0),
        GREY,
        scaled,
    )
    yield read("More than 8 bits/rgb.tif", "16-bit RGB TIFF", tiff(wide_rgb, photometric=2), PICTURE, scaled)
    pairs = (wide >> 4).astype(int).reshape(-1, 2)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    tags = {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [12]),
        259: ("H", [1]),
        262: ("H", [1]),
        277: ("H", [1]),
        278: ("I", [HEIGHT]),
    }
    yield read(
        "More than 8 bits/12_bit.tif",
        "12-bit grey TIFF",
        tiff_of(tags, [packed]),
        GREY,
        "scaled to 8 bits from 12 bits",
        tolerance=1,
    )
    yield read(
        "More than 8 bits/float.tif",
        "float TIFF from 0 to 1",
        tiff(floats, photometric=1),
        GREY,
        "scaled to 8 bits from floats",
    )
    yield read(
        "More than 8 bits/float_white_is_zero.tif",
        "float TIFF, white is zero",
        tiff(1 - floats, photometric=0),
        GREY,
        "scaled to 8 bits from floats",
    )
    odd = "damaged TIFF file, or of a kind that Pillow cannot read"
    yield refused(
        "More than 8 bits/float_255.tif",
        "float TIFF from 0 to 255",
        tiff(floats * 255, photometric=1),
        "floats outside [0, 1] have no defined scale to 8 bits",
    )
    nan = floats.copy()
    nan[3, 3] = np.nan
    yield refused(
        "More than 8 bits/nan.tif",
        "float TIFF that holds NaN",
        tiff(nan, photometric=1),
        "floats outside [0, 1] have no defined scale to 8 bits",
    )
    yield refused(
        "More than 8 bits/double.tif", "double TIFF", tiff(floats.astype(np.float64), photometric=1), odd
    )
    yield refused(
        "More than 8 bits/float_rgb.tif", "float RGB TIFF", tiff(np.dstack([floats] * 3), photometric=2), odd
    )
    whole = "integers outside [0, 65535] have no defined scale to 8 bits"
    yield refused(
        "More than 8 bits/32_bit.tif",
        "32-bit TIFF beyond 16 bits",
        tiff(wide.astype(np.uint32) * 2, photometric=1),
        whole,
    )
    yield refused(
        "More than 8 bits/32_bit_labels.tif",
        "32-bit TIFF with values up to 255",
        tiff(GREY.astype(np.uint32), photometric=1),
        black.format(GREY.max()),
    )
    yield refused(
        "More than 8 bits/negative.tif",
        "16-bit TIFF with negative values",
        tiff(wide.astype(np.int64).astype(np.int16), photometric=1),
        whole,
    )
    yield refused(
        "More than 8 bits/signed.tif",
        "signed 8-bit TIFF",
        tiff(GREY.astype(np.int8), photometric=1),
        "signed integers have no defined scale to grey",
    )
    yield read(
        "More than 8 bits/grey.pgm",
        "16-bit PGM",
        b"P5 40 24 65535\n" + wide.astype(">u2").tobytes(),
        GREY,
        scaled,
    )
    yield read(
        "More than 8 bits/12_bit.pgm",
        "12-bit PGM",
        b"P5 40 24 4095\n" + twelve.astype(">u2").tobytes(),
        GREY,
        scaled,
        tolerance=1,
    )
    yield read(
        "More than 8 bits/float.pfm",
        "float PFM",
        b"Pf\n40 24\n-1.0\n" + np.flipud(floats).astype("<f4").tobytes(),
        GREY,
        "scaled to 8 bits from floats",
    )
    jp2 = encode(Image.fromarray(wide), "JPEG2000")
    yield read("More than 8 bits/grey.jp2", "16-bit JPEG 2000", jp2, GREY, scaled)


def _gif() -> Iterator[DirtyFile]:
    still = _image(PICTURE).quantize(64)
    shown = np.asarray(still.convert("RGB"))
    yield read("GIF/still.gif", "a still", encode(still, "GIF"), shown)
    frames = [_image(np.full((8, 8, 3), 20 * i, np.uint8)) for i in range(12)]
    first = np.zeros((8, 8, 3), np.uint8)
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], optimize=False)
    yield read("GIF/animated.gif", "animated", animated, first, "first frame of 12", "one colour (0, 0, 0)")
    pattern = [[0, 1, 0], [1, 1, 0]]
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)[np.array(pattern)]
    many = gif([gif_frame(0, 0, pattern)] * 1500, width=3, height=2)
    yield read("GIF/many.gif", "1,500 frames", many, colours, "first frame of more than 1000")
    outside = gif([gif_frame(2, 1, pattern)], width=3, height=2)
    larger = np.zeros((3, 5, 3), np.uint8)
    larger[:] = (255, 0, 0)
    larger[1:, 2:] = colours
    yield read("GIF/outside.gif", "a frame that reaches out of the canvas", outside, larger)
    clear = encode(_image(np.where(ALPHA == 255, 0, 1).astype(np.uint8)).convert("P"), "GIF", transparency=1)
    yield read(
        "GIF/clear.gif",
        "a transparent colour",
        clear,
        np.where(ALPHA == 255, 0, 255).astype(np.uint8),
        "alpha over white",
    )
    yield read("GIF/interlaced.gif", "interlaced", encode(still, "GIF", interlace=1), shown)
    plain = encode(still, "GIF", interlace=0)
    yield refused("GIF/half.gif", "cut in half", plain[: len(plain) // 2], "truncated GIF file")
    yield refused(
        "GIF/no_frame.gif",
        "no frame",
        gif([], width=3, height=2),
        "damaged GIF file, or of a kind that Pillow cannot read",
    )
    late = animated[: len(animated) * 2 // 3]
    yield read(
        "GIF/late.gif", "cut in a later frame", late, first, "first frame of 8", "one colour (0, 0, 0)"
    )


def _tiff() -> Iterator[DirtyFile]:
    for name, what in {"tiff_lzw": "LZW", "tiff_deflate": "deflate", "packbits": "PackBits"}.items():
        yield read(
            f"TIFF/{name}.tif",
            f"compressed ({what})",
            encode(_image(PICTURE), "TIFF", compression=name),
            PICTURE,
        )
    inside = encode(_image(PICTURE), "TIFF", compression="jpeg", quality=95)
    yield read("TIFF/jpeg.tif", "JPEG inside", inside, PICTURE, tolerance=40)
    one = _image(BLACK_AND_WHITE).convert("1")
    yield read("TIFF/fax.tif", "1 bit, as a fax", encode(one, "TIFF", compression="group4"), BLACK_AND_WHITE)
    yield read("TIFF/white_is_zero.tif", "8-bit grey, white is zero", tiff(255 - GREY, photometric=0), GREY)
    pages = [_image(PICTURE), _image(255 - PICTURE), _image(GREY)]
    several = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield read("TIFF/pages.tif", "3 pages", several, PICTURE, "first frame of 3")
    start = struct.unpack_from("<I", tiff(GREY, photometric=1), 4)[0]
    yield read("TIFF/circle.tif", "pages in a circle", tiff(GREY, photometric=1, next_page=start), GREY)
    yield read("TIFF/big.tif", "BigTIFF", encode(_image(PICTURE), "TIFF", big_tiff=True), PICTURE)
    planes = {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [8] * 3),
        259: ("H", [1]),
        262: ("H", [2]),
        277: ("H", [3]),
        278: ("I", [HEIGHT]),
        284: ("H", [2]),
    }
    yield read(
        "TIFF/planes.tif",
        "channels one after another",
        tiff_of(planes, [PICTURE[..., i].tobytes() for i in range(3)]),
        PICTURE,
    )
    yield read("TIFF/cmyk.tif", "CMYK", tiff(_cmyk(), photometric=5), PICTURE, "CMYK converted")
    ycc = encode(_image(PICTURE).convert("YCbCr"), "TIFF")
    yield read("TIFF/ycbcr.tif", "YCbCr", ycc, PICTURE, tolerance=3)
    neutral = np.dstack([GREY, np.zeros_like(GREY), np.zeros_like(GREY)])
    f = (GREY / 255 * 100 + 16) / 116
    light = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    yield read(
        "TIFF/lab.tif",
        "LAB",
        tiff(neutral, photometric=8),
        np.rint(255 * srgb).astype(np.uint8),
        "LAB converted",
        tolerance=2,
    )
    rgba = np.dstack([PICTURE, ALPHA])
    over = "alpha over white"
    yield read("TIFF/rgba.tif", "alpha", tiff(rgba, photometric=2, extra={338: ("H", [2])}), ON_WHITE, over)
    premultiplied = np.dstack([np.where(ALPHA[..., None] == 255, PICTURE, 0).astype(np.uint8), ALPHA])
    yield read(
        "TIFF/premultiplied.tif",
        "alpha, premultiplied",
        tiff(premultiplied, photometric=2, extra={338: ("H", [1])}),
        ON_WHITE,
        over,
    )
    infrared = tiff(rgba, photometric=2, extra={338: ("H", [0])})
    yield read(
        "TIFF/infrared.tif",
        "a fourth channel that is no alpha",
        infrared,
        PICTURE,
        "extra bands ignored (4 in the file)",
    )
    odd = "damaged TIFF file, or of a kind that Pillow cannot read"
    yield refused(
        "TIFF/five.tif", "five channels", tiff(np.dstack([PICTURE, GREY, GREY]), photometric=1), odd
    )
    small = tiff(GREY, photometric=1, extra={254: ("I", [1])})
    yield refused(
        "TIFF/raw.dng",
        "camera raw that begins with a thumbnail",
        small,
        "its first page is a small copy, as in camera raw files: convert it",
    )
    plain = tiff(PICTURE, photometric=2)
    yield refused(
        "TIFF/cut.tif",
        "pixels cut off",
        tiff_of(_tags_of(PICTURE), [PICTURE.tobytes()[:600]]),
        "truncated TIFF file",
    )
    few = tiff_of(_tags_of(PICTURE) | {278: ("I", [6])}, [PICTURE[:6].tobytes()])
    yield refused("TIFF/few_strips.tif", "one strip of four", few, "truncated TIFF file")
    one_plane = tiff_of(planes, [PICTURE[..., 0].tobytes()])
    yield refused("TIFF/one_plane.tif", "one channel of three", one_plane, "truncated TIFF file")
    yield refused("TIFF/no_table.tif", "its table cut off", plain[: len(plain) - 150], odd)


def _tags_of(pixels: np.ndarray) -> dict[int, tuple[str, list[int]]]:
    return {
        256: ("I", [WIDTH]),
        257: ("I", [HEIGHT]),
        258: ("H", [8] * 3),
        259: ("H", [1]),
        262: ("H", [2]),
        277: ("H", [3]),
        278: ("I", [HEIGHT]),
    }


def _webp() -> Iterator[DirtyFile]:
    lossless = {"lossless": True, "exact": True}
    yield read("WebP/lossy.webp", "lossy", encode(_image(PICTURE), "WEBP", quality=95), PICTURE, tolerance=25)
    yield read("WebP/lossless.webp", "lossless", encode(_image(PICTURE), "WEBP", **lossless), PICTURE)
    alpha = encode(_image(np.dstack([PICTURE, ALPHA])), "WEBP", **lossless)
    yield read("WebP/alpha.webp", "alpha", alpha, ON_WHITE, "alpha over white")
    frames = [_image(PICTURE), _image(255 - PICTURE)]
    animated = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], **lossless)
    yield read("WebP/animated.webp", "animated", animated, PICTURE, "first frame of 2")
    plain = encode(_image(PICTURE), "WEBP", **lossless)
    yield refused(
        "WebP/half.webp",
        "cut in half",
        plain[: len(plain) // 2],
        "damaged WEBP file (could not create decoder object)",
    )


def _other_formats() -> Iterator[DirtyFile]:
    yield read("Other formats/rgb.bmp", "BMP", encode(_image(PICTURE), "BMP"), PICTURE)
    yield read(
        "Other formats/palette.bmp",
        "BMP, palette",
        bmp(WIDTH, HEIGHT, np.flipud(GREY).tobytes(), bits=8),
        GREY,
    )
    yield read(
        "Other formats/top_down.bmp", "BMP, top row first", bmp(WIDTH, -HEIGHT, GREY.tobytes(), bits=8), GREY
    )
    rows = b"".join(b"".join(bytes([1, v]) for v in row) + b"\x00\x00" for row in np.flipud(GREY).tolist())
    yield read(
        "Other formats/rle.bmp",
        "BMP, run lengths",
        bmp(WIDTH, HEIGHT, rows + b"\x00\x01", bits=8, compression=1),
        GREY,
    )
    five = PICTURE.astype(np.uint16) >> 3
    packed = np.flipud(five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2").tobytes()
    yield read(
        "Other formats/15_bit.bmp",
        "BMP, 5 bits a channel",
        bmp(WIDTH, HEIGHT, packed, bits=16),
        PICTURE,
        tolerance=8,
    )
    bgra = np.flipud(np.dstack([PICTURE[..., ::-1], np.zeros_like(ALPHA)])).tobytes()
    yield read(
        "Other formats/32_bit.bmp",
        "BMP, 32 bits, the fourth byte unused",
        bmp(WIDTH, HEIGHT, bgra, bits=32),
        PICTURE,
    )
    plain = encode(_image(PICTURE), "BMP")
    yield refused(
        "Other formats/half.bmp", "BMP, cut in half", plain[: len(plain) // 2], "truncated BMP file"
    )
    yield read("Other formats/rgb.ppm", "PPM", encode(_image(PICTURE), "PPM"), PICTURE)
    text = b"P2 40 24 255\n" + " ".join(map(str, GREY.ravel().tolist())).encode()
    yield read("Other formats/text.pgm", "PGM as text", text, GREY)
    yield read("Other formats/rgb.jp2", "JPEG 2000", encode(_image(PICTURE), "JPEG2000"), PICTURE)
    tiled = encode(_image(PICTURE), "JPEG2000", tile_size=(16, 16), no_jp2=True)
    few = tiled[: tiled.rindex(b"\xff\x90")] + b"\xff\xd9"
    yield read("Other formats/tiles.j2k", "JPEG 2000, in tiles", tiled, PICTURE)
    yield refused("Other formats/few_tiles.j2k", "JPEG 2000, a tile missing", few, "truncated JPEG2000 file")
    avif = encode(_image(PICTURE), "AVIF", quality=100, subsampling="4:4:4")
    yield read("Other formats/rgb.avif", "AVIF", avif, PICTURE, tolerance=LOSSY)
    for name, whole in {"jp2": encode(_image(PICTURE), "JPEG2000"), "avif": avif}.items():
        format = {"jp2": "JPEG2000", "avif": "AVIF"}[name]
        reason = {
            "jp2": "damaged JPEG2000 file (broken data stream when reading image file)",
            "avif": "damaged AVIF file, or of a kind that Pillow cannot read",
        }[name]
        yield refused(
            f"Other formats/half.{name}", f"{format}, cut in half", whole[: len(whole) // 2], reason
        )


def _bombs() -> Iterator[DirtyFile]:
    large = "more than 89478485 pixels"
    slow = "more than 16777216 pixels as text, with odd levels or run lengths: store it as PNG"
    yield refused("Bombs/just.png", "PNG just over the limit", png_of_size(9460, 9460), large)
    yield refused("Bombs/far.png", "PNG of 100,000 × 100,000", png_of_size(100_000, 100_000), large)
    plain = _jpeg_bytes()
    size = plain.index(b"\xff\xc0") + 5
    yield refused(
        "Bombs/far.jpg", "JPEG of 65,535 × 65,535", plain[:size] + b"\xff" * 4 + plain[size + 4 :], large
    )
    yield refused(
        "Bombs/far.gif",
        "GIF of 65,535 × 65,535",
        gif([gif_frame(0, 0, [[0]])], width=65535, height=65535),
        large,
    )
    far_frame = b"," + struct.pack("<HHHHB", 65000, 65000, 9, 9, 0) + b"\x02\x00"
    yield refused(
        "Bombs/frame.gif", "GIF with a frame far outside", gif([far_frame], width=9, height=9), large
    )
    sides = {256: ("I", [60_000]), 257: ("I", [60_000])}
    yield refused(
        "Bombs/far.tif", "TIFF of 60,000 × 60,000", tiff_of(_tags_of(PICTURE) | sides, [b"x" * 99]), large
    )
    pieces = _tags_of(PICTURE) | {273: ("I", [8] * 100_001), 279: ("I", [1] * 100_001), 278: ("I", [1])}
    yield refused(
        "Bombs/strips.tif",
        "TIFF of 100,001 strips",
        tiff_of(pieces, [b"x"]),
        "a TIFF file of more than 100000 strips or tiles",
    )
    canvas = bytearray(
        encode(
            _image(np.dstack([PICTURE, ALPHA])),
            "WEBP",
            lossless=True,
            save_all=True,
            append_images=[_image(GREY)],
        )
    )
    at = canvas.index(b"VP8X") + 12
    canvas[at : at + 6] = (16_382).to_bytes(3, "little") * 2
    yield refused("Bombs/far.webp", "WebP of 16,383 × 16,383", bytes(canvas), large)
    yield refused(
        "Bombs/rle.bmp",
        "BMP of run lengths, 80 million pixels",
        bmp(80_000_000, 1, b"\x00\x02\xff\xff", bits=8, compression=1),
        slow,
    )
    yield refused("Bombs/text.ppm", "PPM as text, 36 million pixels", b"P3 6000 6000 255\n1 2 3", slow)
    progressive = _jpeg_bytes(progressive=True)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x3f\x3f\x10\x00"
    yield refused(
        "Bombs/scans.jpg",
        "JPEG of a thousand scans",
        progressive[:-2] + scan * 1000 + b"\xff\xd9",
        "a JPEG file of more than 200 scans",
    )
    text = png(
        GREY,
        colour_type=0,
        chunks=png_chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(2**27))),
    )
    yield refused("Bombs/text.png", "PNG with a text that unpacks to 128 MiB", text, "damaged PNG file")


def _strangers() -> Iterator[DirtyFile]:
    convert = "(convert it to JPEG or PNG)"
    known = "no image of a known format (PNG, JPEG, WEBP, TIFF, BMP, GIF, PPM, JPEG2000, AVIF)"
    yield refused("No image/empty.jpg", "no byte", b"", "empty file")
    yield refused("No image/zeros.jpg", "zero bytes alone", bytes(5000), "nothing but zero bytes")
    yield refused("No image/text.jpg", "text", b"hello, world\n" * 9, known)
    yield refused(
        "No image/heic.heic", "HEIC", b"\x00\x00\x00\x18ftypheic" + bytes(50), f"a HEIC file {convert}"
    )
    yield refused(
        "No image/heic.jpg",
        "HEIC named .jpg",
        b"\x00\x00\x00\x18ftypheix" + bytes(50),
        f"a HEIC file {convert}",
    )
    yield refused("No image/jxl.jxl", "JPEG XL", b"\xff\x0a" + bytes(50), f"a JPEG XL file {convert}")
    yield refused(
        "No image/canon.cr2",
        "camera raw",
        b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(50),
        "a camera raw file (develop it to JPEG or PNG)",
    )
    yield refused(
        "No image/scan.dcm", "DICOM", bytes(128) + b"DICM" + bytes(50), "a DICOM file (convert it to PNG)"
    )
    yield refused(
        "No image/icon.ico",
        "an icon",
        encode(_image(PICTURE[:16, :16]), "ICO"),
        "an icon (convert it to PNG)",
    )
    yield refused(
        "No image/layers.psd", "Photoshop", b"8BPS" + bytes(50), "a Photoshop file (convert it to PNG)"
    )
    yield refused(
        "No image/page.jpg",
        "a web page, saved in place of the picture",
        b"\n<!DOCTYPE html><html><body>404",
        "a web page",
    )
    yield refused(
        "No image/drawing.svg", "SVG", b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "a drawing (SVG)"
    )
    yield refused("No image/paper.pdf", "PDF", b"%PDF-1.7\n", "a PDF")
    yield refused("No image/print.eps", "PostScript", encode(_image(PICTURE), "EPS"), "a PostScript file")
    yield refused("No image/clip.mp4", "a video", b"\x00\x00\x00\x20ftypisom" + bytes(50), "a video")
    yield refused(
        "No image/pointer.jpg",
        "a Git LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\n",
        "a Git LFS pointer in place of the file (git lfs pull)",
    )
    yield refused("No image/array.npy", "a NumPy array", b"\x93NUMPY" + bytes(50), "a NumPy array")


def write_files(folder: Path) -> None:
    """Write the collection."""
    for file in dirty_files():
        path = folder / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)


def table() -> str:
    """The rules by kinds of files, as Markdown."""
    lines = []
    for group in dict.fromkeys(file.group for file in dirty_files()):
        lines += ["", f"### {group}", "", "| file | |", "|---|---|"]
        for file in dirty_files():
            if file.group == group:
                outcome = f"refused: {file.reason}" if file.reason else "; ".join(["read", *file.ways])
                lines.append(f"| {file.what} | {outcome} |")
    return "\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        sys.stdout.write(table())
    else:
        write_files(Path(sys.argv[1]))
