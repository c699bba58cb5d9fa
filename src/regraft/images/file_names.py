"""File names: what the names of images say by themselves: suffixes, names too much alike, links that lead out.

Opens no file.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

FORMATS_OF_SUFFIX: Final[dict[str, tuple[str, ...]]] = {
    ".avif": ("AVIF",),
    ".bmp": ("BMP",),
    ".gif": ("GIF",),
    ".jp2": ("JPEG2000",),
    ".jpeg": ("JPEG", "MPO"),
    ".jpg": ("JPEG", "MPO"),
    ".pgm": ("PPM",),
    ".png": ("PNG",),
    ".ppm": ("PPM",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
    ".webp": ("WEBP",),
}


LITTER: Final = {"__MACOSX", "Thumbs.db", "desktop.ini"}


def is_visible(name: str) -> bool:
    """Neither hidden nor left by a file manager."""
    return not name.startswith(".") and name not in LITTER


def is_unicode(text: str) -> bool:
    """Whether a name can be written as UTF-8; POSIX file names need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_storable(text: str) -> bool:
    """Whether a name comes back from a CSV in UTF-8."""
    return is_unicode(text) and "\r" not in text


def contradicts_suffix(path: str, format: str) -> str | None:
    """The suffix, if it is that of another format."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122  # of a million paths
    return suffix if format not in FORMATS_OF_SUFFIX.get(suffix, (format,)) else None


def find_alike(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in capitals or in the composition of their letters alone, sets of them by the first.

    They are one name to the file systems of a Mac and of Windows.
    """
    names_of_key: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        names_of_key[_fold(name)].append(name)
    return sorted(sorted(same) for same in names_of_key.values() if len(same) > 1)


def find_links_out(paths: Sequence[str]) -> list[str]:
    """Paths that lead, by a link of their own or of a folder, out of the folder which holds them all."""

    @cache
    def real_folder(folder: str) -> str:
        return os.path.realpath(folder)

    parents = {os.path.abspath(os.path.dirname(path)) for path in paths}  # noqa: PTH100, PTH120
    inside = os.path.join(real_folder(os.path.commonpath(parents)), "")  # noqa: PTH118
    found = []
    for path in paths:
        if os.path.islink(path):  # noqa: PTH114
            real = os.path.realpath(path)
        else:
            real = os.path.join(real_folder(os.path.dirname(path)), "")  # noqa: PTH118, PTH120
        if not real.startswith(inside):
            found.append(path)
    return found


def _fold(name: str) -> str:
    """What file systems that are blind to it make of a name."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
