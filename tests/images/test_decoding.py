"""One rule from a file to upright 8-bit RGB, over all modes; a short reason for what cannot be decoded."""

import contextlib
import io
import os
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from regraft.images import decoding
from regraft.images.decoding import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    UnreadableImageError,
    decode,
    decode_rgb,
    decode_rgb_bytes,
    read_image_bytes,
    upright_rgb,
)
from regraft.images.ways import Way


def encode(image: Image.Image, format: str = "PNG", **settings: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **settings)
    return stream.getvalue()


def decoded_pixels(image: Image.Image, format: str = "PNG", **settings: object) -> list[list[int]]:
    rgb = decode_rgb_bytes(encode(image, format, **settings))
    assert rgb.mode == "RGB"
    return np.asarray(rgb).reshape(-1, 3).tolist()


def row_of(values: list[int], dtype: type, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.array([values], dtype))
    assert mode is None or image.mode == mode
    return image


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    image = row_of([0, 128, 129, 257, 32768, 65535], np.uint16, "I;16")
    assert [pixel[0] for pixel in decoded_pixels(image)] == [0, 0, 1, 1, 128, 255]
    assert [pixel[0] for pixel in decoded_pixels(image, "TIFF")] == [0, 0, 1, 1, 128, 255]


def test_16_bit_pgm_is_scaled_like_16_bit_png() -> None:
    data = b"P5 3 1 65535\n" + struct.pack(">3H", 0, 257, 65535)
    assert np.asarray(decode_rgb_bytes(data))[0, :, 0].tolist() == [0, 1, 255]


def test_wide_integers_and_floats_are_refused_but_floats_up_to_one_are_scaled() -> None:
    assert decoded_pixels(row_of([0.0, 0.5, 1.0], np.float32, "F"), "TIFF") == [[0] * 3, [128] * 3, [255] * 3]
    for values, dtype in (
        ([0, 70000], np.int32),
        ([-1, 5], np.int32),
        ([0, 1.5], np.float32),
        ([np.nan], np.float32),
    ):
        with pytest.raises(UnreadableImageError, match="no defined scale to 8 bits"):
            decode_rgb_bytes(encode(row_of(values, dtype), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_over_white(mode: str) -> None:
    image = Image.new(mode, (3, 1))
    black = (0,) * (len(mode) - 1)
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*black, alpha))
    assert decoded_pixels(image) == [[255] * 3, [127] * 3, [0] * 3]


def test_transparent_palette_and_grey_colours_lie_over_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert decoded_pixels(palette, transparency=0) == [[255] * 3, [40, 50, 60]]
    assert decoded_pixels(palette, "GIF", transparency=0) == [[255] * 3, [40, 50, 60]]
    assert decoded_pixels(palette) == [[10, 20, 30], [40, 50, 60]]
    assert decoded_pixels(row_of([7, 8], np.uint8, "L"), transparency=7) == [[255] * 3, [8] * 3]


def test_an_opaque_alpha_channel_changes_no_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    pixels[..., 3] = 255
    assert np.array_equal(np.asarray(decode_rgb_bytes(encode(Image.fromarray(pixels)))), pixels[..., :3])


@pytest.mark.parametrize(
    ("mode", "format", "colour", "expected"),
    [
        ("1", "PNG", 1, (255, 255, 255)),
        ("L", "PNG", 77, (77, 77, 77)),
        ("RGB", "BMP", (1, 2, 3), (1, 2, 3)),
        ("RGB", "WEBP", (1, 2, 3), (1, 2, 3)),
        ("RGB", "JPEG2000", (1, 2, 3), (1, 2, 3)),
        ("CMYK", "TIFF", (0, 255, 255, 0), (255, 0, 0)),
        ("CMYK", "JPEG", (255, 0, 0, 0), (0, 255, 255)),
        ("YCbCr", "TIFF", (128, 128, 128), (128, 128, 128)),
    ],
)
def test_every_usual_mode_and_format_becomes_rgb(
    mode: str, format: str, colour: object, expected: tuple[int, ...]
) -> None:
    settings = {"lossless": True} if format == "WEBP" else {}
    data = encode(Image.new(mode, (8, 8), colour), format, **settings)
    pixels = np.asarray(decode_rgb_bytes(data)).reshape(-1, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= (2 if format == "JPEG" else 0)
    assert decode(data).format == format


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(format: str, orientation: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (6, 4, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    settings = {"lossless": True} if format == "WEBP" else {}
    data = encode(Image.fromarray(pixels), format, exif=exif, **settings)
    with Image.open(io.BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    decoded = decode_rgb_bytes(data)
    assert decoded.size == ((6, 4)[::-1] if orientation < 5 else (6, 4))
    assert np.array_equal(np.asarray(decoded), np.asarray(expected))
    assert decoded.getexif().get(0x0112, 1) == 1, "a second turn by a later reader would undo the first"


def test_orientation_6_puts_the_stored_top_left_to_the_top_right() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(decode_rgb_bytes(encode(Image.fromarray(pixels), exif=exif)))
    assert upright.shape == (3, 2, 3)
    assert upright[0, 1].tolist() == [255] * 3


def test_an_exif_block_that_cannot_be_parsed_counts_as_upright() -> None:
    data = encode(Image.new("RGB", (4, 2), (9, 9, 9)), "JPEG", exif=b"Exif\x00\x00XX\x00\x2a" + b"\xff" * 8)
    assert decode_rgb_bytes(data).size == (4, 2)


def test_the_first_frame_of_an_animation_is_taken_and_said_to_be_one() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    decoded = decode(data)
    assert [str(way) for way in decoded.ways] == ["first frame of 2", "one colour (255, 0, 0)"]
    assert np.asarray(decoded.image)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "JPEG2000", "AVIF"])
def test_a_file_cut_in_half_is_unreadable(format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encode(Image.fromarray(pixels), format)
    decode_rgb_bytes(data)
    with pytest.raises(
        UnreadableImageError, match=f"(truncated|damaged) {format}|known format|damaged image"
    ):
        decode_rgb_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"P6 2 2\n", b"P5 x 1 255\n1"],
)
def test_reasons_are_short_and_hold_no_address(data: bytes) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        decode_rgb_bytes(data)
    assert 0 < len(caught.value.reason) < 120
    assert "0x" not in caught.value.reason


def test_formats_that_start_other_programs_are_not_opened() -> None:
    with pytest.raises(UnreadableImageError, match="a PostScript file"):
        decode_rgb_bytes(encode(Image.new("RGB", (2, 2)), "EPS"))  # Pillow calls Ghostscript to read it


def test_a_decompression_bomb_is_told_from_its_header(recwarn: pytest.WarningsRecorder) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png_of(width: int, height: int) -> bytes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")

    for side in (9_460, 100_000):  # just over the limit, where Pillow only warns, and far over it
        assert side * side > MAX_PIXELS
        with pytest.raises(UnreadableImageError, match="more than 89478485 pixels"):
            decode_rgb_bytes(png_of(side, side))


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.05, 1),
)
def test_damaged_bytes_give_an_image_or_a_reason_and_nothing_else(
    format: str, changes: list[tuple[float, int]], kept_fraction: float
) -> None:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    data = bytearray(encode(Image.fromarray(pixels), format))
    for position, value in changes:
        data[int(position * len(data))] = value
    with contextlib.suppress(UnreadableImageError):
        assert decode_rgb_bytes(bytes(data[: int(kept_fraction * len(data)) + 1])).mode == "RGB"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"gone\.png: not there"):
        decode_rgb(tmp_path / "gone.png")
    (tmp_path / "link.png").symlink_to("nowhere.png")
    with pytest.raises(UnreadableImageError, match="a link that leads nowhere"):
        read_image_bytes(tmp_path / "link.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(UnreadableImageError, match="too many levels of symbolic links"):
        read_image_bytes(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        read_image_bytes(tmp_path / "pipe.png")
    (tmp_path / "huge.png").touch()
    os.truncate(tmp_path / "huge.png", MAX_FILE_BYTES + 1)  # sparse: takes no room
    with pytest.raises(UnreadableImageError, match="larger than 1073741824 bytes"):
        read_image_bytes(tmp_path / "huge.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UnreadableImageError, match=r"empty\.png: empty file"):
        decode_rgb(tmp_path / "empty.png")


def test_an_opened_image_is_turned_and_converted_by_the_same_rule() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = np.arange(0, 60000, 2500, dtype=np.uint16).reshape(4, 6)
    for data in (
        encode(Image.new("RGB", (4, 2), (9, 8, 7)), "JPEG", exif=exif),
        encode(Image.fromarray(wide), "PNG", exif=exif),
        encode(Image.fromarray(wide), "TIFF", exif=exif),
    ):
        with Image.open(io.BytesIO(data)) as image:
            upright = upright_rgb(image)
        assert upright.tobytes() == decode_rgb_bytes(data).tobytes()
        assert upright_rgb(upright).tobytes() == upright.tobytes(), "once turned, it stays as it is"
    with pytest.raises(UnreadableImageError, match="wholly transparent"):
        upright_rgb(Image.new("RGBA", (2, 2)))


def test_a_large_image_is_decoded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads, and a decoder that says how many of it run at once."""
    at_once, most = 0, 0
    counting = threading.Lock()
    load = decoding._load

    def slow_load(image: Image.Image, data: bytes) -> list[Way]:
        nonlocal at_once, most
        with counting:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        taken = load(image, data)
        with counting:
            at_once -= 1
        return taken

    monkeypatch.setattr(decoding, "_load", slow_load)
    data = encode(Image.new("L", (32, 32)))
    for limit, expected in ((2**24, 2), (100, 1)):
        most = 0
        monkeypatch.setattr(decoding, "_LARGE_PIXELS", limit)
        with ThreadPoolExecutor(2) as executor:
            list(executor.map(decode, [data, data]))
        assert most == expected


def test_want_of_memory_is_a_reason_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(image: Image.Image, data: bytes) -> list[Way]:
        raise MemoryError

    monkeypatch.setattr(decoding, "_load", exhaust)
    with pytest.raises(UnreadableImageError, match="needs more memory than there is"):
        decode(encode(Image.new("L", (2, 2))))


def test_a_format_that_this_pillow_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(Image.new("RGB", (16, 16)), "AVIF")
    monkeypatch.setattr(decoding, "_supported_formats", lambda: ("PNG", "JPEG"))
    with pytest.raises(
        UnreadableImageError, match="AVIF file, which this installation of Pillow cannot read"
    ):
        decode(data)


def test_a_path_and_its_bytes_decode_alike(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.new("L", (3, 2), 5).save(path)
    assert decode_rgb(path).tobytes() == decode_rgb_bytes(path.read_bytes()).tobytes() == bytes([5] * 18)
