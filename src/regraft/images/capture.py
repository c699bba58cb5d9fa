"""Capture: when, and with which camera, an image says it was taken.

Knows the EXIF block alone. What is damaged or absent is None: nothing depends on it but a suggestion.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from PIL import ExifTags, Image

_FORMATS: Final = ("JPEG", "TIFF", "WEBP")  # cameras write these; to ask a PNG, Pillow decodes all of it
_MAX_NAME: Final = 80


@dataclass(frozen=True)
class Capture:
    """What the camera wrote.

    Attributes:
        camera: Make and model.
        taken_at: `2024-05-31T12:30:05`, the camera's own clock, without a zone.
    """

    camera: str | None = None
    taken_at: str | None = None


def read_capture(data: bytes) -> Capture:
    """Read the capture of an image file's bytes; nothing of it is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            exif = image.getexif()
            names = (exif.get(ExifTags.Base.Make), exif.get(ExifTags.Base.Model))
            times = exif.get_ifd(ExifTags.IFD.Exif) if exif else {}
            taken = times.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    except Exception:  # as in decoding: damaged blocks raise nearly anything, and are of no use here
        return Capture()
    words = [" ".join(name.replace("\0", " ").split()) for name in names if isinstance(name, str)]
    return Capture(" ".join(word for word in words if word)[:_MAX_NAME] or None, _parse_time(taken))


def _parse_time(text: object) -> str | None:
    """EXIF's `2024:05:31 12:30:05`; cameras without a clock write zeros or blanks."""
    if not isinstance(text, str):
        return None
    try:
        return datetime.strptime(text.strip("\0 ")[:19], "%Y:%m:%d %H:%M:%S").isoformat()
    except ValueError:
        return None
