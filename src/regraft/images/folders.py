"""Folders: images listed from a folder of class folders, or from the shards it was packed into.

Knows no options and opens no image; what is listed may turn out to be unreadable.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from regraft.images.faults import SourceError, join_faults, show_first, suggest_near
from regraft.images.shards import holds_shards, packed_files

_IMAGE_SUFFIXES: Final = {
    ".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
_SPLIT_FOLDERS: Final = {"train", "training", "val", "valid", "validation", "test", "testing"}
_LITTER: Final = {"__MACOSX", "Thumbs.db", "desktop.ini"}


def list_class_folders(root: Path) -> list[tuple[str, str]]:
    """List the files below each class folder, at any depth, links followed.

    Every file counts as an image, whatever its suffix, except hidden ones and file managers' litter. A folder of
    shards is listed as the folder that was packed.

    Returns:
        Path (posix, root in front) and label (the class folder's name) of every file.

    Raises:
        SourceError: If the root is not there or empty, has no class folder, has images beside the class
            folders, has folders named like splits instead of classes, or a class folder is empty; or if its
            shards are damaged.
    """
    require_folder(root, "ingest.source.path")
    files, beside = _files_in_shards(root) if holds_shards(root) else _files_in_folder(root)
    strays = [name for name in beside if Path(name).suffix.lower() in _IMAGE_SUFFIXES]
    if not files and not beside:
        raise SourceError(f"the images folder {quote_path(root)} is empty; it needs one folder a class")
    if not files:
        inside = f"{len(strays)} images ({show_first(strays)})" if strays else "no folder"
        raise SourceError(
            f"the images folder {quote_path(root)} has {inside} directly in it, but needs one folder a "
            "class, named by its label; or list the images in a CSV (ingest.source.kind 'csv')"
        )
    if all(label.lower() in _SPLIT_FOLDERS for label in files):
        raise SourceError(
            f"the folders in {quote_path(root)} are named like splits ({', '.join(files)}), not like "
            "classes. Point ingest.source.path at one of them, or list the images in a CSV "
            "(ingest.source.kind 'csv', with a split_column, and ingest.split.kind 'given')"
        )
    faults = []
    if strays:
        faults.append(
            f"{len(strays)} images without a class, directly in {quote_path(root)}: {show_first(strays)}"
        )
    if empty := [label for label, paths in files.items() if not paths]:
        faults.append(f"{len(empty)} empty class folders in {quote_path(root)}: {show_first(empty)}")
    if faults:
        raise SourceError(join_faults([f"{fault}. Fill, move or remove them." for fault in faults]))
    return [(path, label) for label, paths in files.items() for path in paths]


def _files_in_folder(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Paths by class folder, and the names of the files beside these."""
    visible = [entry for entry in _scan(root) if is_visible(entry.name)]
    files = {entry.name: list(_files_below(root / entry.name)) for entry in visible if entry.is_dir()}
    return files, [entry.name for entry in visible if entry.is_file()]


def _files_in_shards(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """The same of the folder that was packed."""
    if unpacked := [entry.name for entry in _scan(root) if is_visible(entry.name) and entry.is_dir()]:
        raise SourceError(
            f"the folder {quote_path(root)} holds shards and also folders: {show_first(unpacked)}. Move the "
            "folders elsewhere, or pack them too."
        )
    below: dict[str, list[str]] = {}
    beside = []
    for name in packed_files(root):
        label, slash, _ = name.partition("/")
        if slash:
            below.setdefault(label, []).append((root / name).as_posix())
        else:
            beside.append(name)
    return below, beside


def require_folder(path: Path, key: str) -> None:
    """Raise unless there is a folder, with the names beside it that are alike."""
    if not path.is_dir():
        fault = "is a file" if path.exists() else f"is not there.{_suggest_path(path)}"
        raise SourceError(f"the folder {quote_path(path)} ({key}) {fault}")


def require_file(path: Path, key: str) -> None:
    """Raise unless there is a file, with the names beside it that are alike."""
    if not path.is_file():
        fault = "is a folder" if path.exists() else f"is not there.{_suggest_path(path)}"
        raise SourceError(f"the file {quote_path(path)} ({key}) {fault}")


def quote_path(path: Path) -> str:
    """A path as the user gave it."""
    return repr(path.as_posix())


def is_visible(name: str) -> bool:
    """Neither hidden nor left by a file manager."""
    return not name.startswith(".") and name not in _LITTER


def is_unicode(text: str) -> bool:
    """Whether a name can be written as UTF-8; POSIX file names need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _suggest_path(path: Path) -> str:
    """Where a relative path was looked for, and near names in the same folder."""
    looked = "" if path.is_absolute() else f" It was looked for under {Path.cwd().as_posix()}."
    siblings = [entry.name for entry in _scan(path.parent)] if path.parent.is_dir() else []
    return looked + suggest_near(path.name, siblings)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """Entries of a folder by name."""
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _files_below(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[str]:
    """Visible files at any depth, links followed, but never around in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in _scan(folder):
        if not is_visible(entry.name):
            continue
        if entry.is_dir():
            yield from _files_below(folder / entry.name, above | {real})
        else:
            yield (folder / entry.name).as_posix()
