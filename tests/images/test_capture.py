"""When and with what an image was taken."""

import io

import pytest
from PIL import ExifTags, Image

from regraft.images.capture import Capture, read_capture


def jpeg_with(time: str | None = None, make: str = "Foo\0", model: str = "  Bar 9 ") -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = make
    exif[ExifTags.Base.Model] = model
    if time is not None:
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = time
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def test_camera_and_time_are_read() -> None:
    assert read_capture(jpeg_with("2024:05:31 12:30:05")) == Capture("Foo Bar 9", "2024-05-31T12:30:05")


@pytest.mark.parametrize("time", [None, "0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday"])
def test_a_clock_that_was_not_set_is_no_time(time: str | None) -> None:
    assert read_capture(jpeg_with(time)) == Capture("Foo Bar 9", None)


def test_images_without_exif_and_damaged_files_say_nothing() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, "PNG")
    data = jpeg_with("2024:05:31 12:30:05")
    for nothing in (stream.getvalue(), b"", b"no image", data[:30]):
        assert read_capture(nothing) == Capture()
    broken = data.replace(b"II*\0", b"II*\xff").replace(b"MM\0*", b"MM\xff*")
    assert read_capture(broken).taken_at is None
