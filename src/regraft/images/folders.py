"""Folders: images listed from a folder of class folders.

Knows no options and opens no image; what is listed may turn out to be unreadable.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from regraft.images.faults import SourceError, join_faults, show_first, suggest_near
from regraft.images.file_names import FORMATS_OF_SUFFIX, LITTER
from regraft.images.shards import holds_shards, packed_files

_SPLIT_FOLDERS: Final = {"train", "training", "val", "valid", "validation", "test", "testing"}
_BESIDE: Final = "beside the class folders"


@dataclass
class _Found:
    """What lies below one folder: files, what is not looked at and why, folders that may not be read."""

    files: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def list_class_folders(root: Path) -> list[tuple[str, str]]:
    """List the files below each class folder, at any depth, links followed.

    Every file counts as an image, whatever its suffix, except hidden ones and file managers' litter. A folder
    that links lead to more than once within a class is listed once. A folder of shards is listed as the folder
    that was packed.

    Returns:
        Path (posix, root in front) and label (the class folder's name) of every file.

    Raises:
        SourceError: If the root is not there or empty, has no class folder, has images beside the class
            folders, has folders named like splits instead of classes, or a folder is empty or may not be read; or if
            its shards are damaged.
    """
    require_folder(root, "ingest.source.path")
    found, beside = _look_into_shards(root) if holds_shards(root) else _look_into_classes(root)
    labels = list(found)
    strays = sorted(name for name in beside if Path(name).suffix.lower() in FORMATS_OF_SUFFIX)
    if not (labels or beside):
        raise SourceError(f"the images folder {quote_path(root)} is empty; it needs one folder a class")
    if not labels:
        inside = f"{len(strays)} images ({show_first(strays)})" if strays else "no folder"
        raise SourceError(
            f"the images folder {quote_path(root)} has {inside} directly in it, but needs one folder a "
            "class, named by its label; or list the images in a CSV (ingest.source.kind 'csv')"
        )
    if all(label.lower() in _SPLIT_FOLDERS for label in labels):
        raise SourceError(
            f"the folders in {quote_path(root)} are named like splits ({', '.join(labels)}), not like "
            "classes. Point ingest.source.path at one of them, or list the images in a CSV "
            "(ingest.source.kind 'csv', with a split_column, and ingest.split.kind 'given')"
        )
    faults = []
    if strays:
        faults.append(
            f"{len(strays)} images without a class, directly in {quote_path(root)}: {show_first(strays)}"
        )
    if closed := [folder for below in found.values() for folder in below.closed]:
        faults.append(f"{len(closed)} folders may not be read: {show_first(closed)}")
    if empty := [label for label, below in found.items() if not (below.files or below.closed)]:
        faults.append(f"{len(empty)} empty class folders in {quote_path(root)}: {show_first(empty)}")
    if faults:
        raise SourceError(join_faults([f"{fault}. Fill, move or remove them." for fault in faults]))
    return [(path, label) for label, below in found.items() for path in below.files]


def list_files(root: Path) -> list[str]:
    """Every file below a folder by name, at any depth, links followed; without hidden ones and litter."""
    return sorted(_walk(root.as_posix()).files)


def list_skipped(root: Path) -> list[tuple[str, str]]:
    """What `list_class_folders` does not look at, by path, and why."""
    if holds_shards(root):
        beside = [(root / name).as_posix() for name in packed_files(root) if "/" not in name]
        return sorted((path, _BESIDE) for path in beside)
    top = _look_into(root)
    skipped = top.skipped + [(path, _BESIDE) for path in top.files]
    for folder in [*top.folders, *top.linked_folders]:
        skipped += _walk(folder).skipped
    return sorted(skipped)


def _look_into_classes(root: Path) -> tuple[dict[str, "_Found"], list[str]]:
    """What is below each class folder, and the names of the files beside these."""
    top = _look_into(root)
    labels = sorted(map(_name_of, [*top.folders, *top.linked_folders]))
    return {label: _walk(f"{root.as_posix()}/{label}") for label in labels}, list(map(_name_of, top.files))


def _look_into_shards(root: Path) -> tuple[dict[str, "_Found"], list[str]]:
    """The same of the folder that was packed."""
    top = _look_into(root)
    if unpacked := sorted(map(_name_of, [*top.folders, *top.linked_folders])):
        raise SourceError(
            f"the folder {quote_path(root)} holds shards and also folders: {show_first(unpacked)}. Move the "
            "folders elsewhere, or pack them too."
        )
    found: dict[str, _Found] = {}
    beside = []
    for name in packed_files(root):
        label, slash, _ = name.partition("/")
        if slash:
            found.setdefault(label, _Found()).files.append((root / name).as_posix())
        else:
            beside.append(name)
    return found, beside


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


def _suggest_path(path: Path) -> str:
    """Where a relative path was looked for, and near names in the same folder."""
    looked = "" if path.is_absolute() else f" It was looked for under {Path.cwd().as_posix()}."
    siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    return looked + suggest_near(path.name, siblings)


@dataclass
class _Entries(_Found):
    """Besides: the folders directly in it."""

    folders: list[str] = field(default_factory=list)
    linked_folders: list[str] = field(default_factory=list)


def _look_into(folder: str | Path) -> _Entries:
    """One folder, its entries by name."""
    entries = _Entries()
    prefix = Path(folder).as_posix() + "/"
    try:
        with os.scandir(folder) as scan:
            listed = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in scan)
    except OSError as error:
        entries.closed.append(f"{prefix[:-1]} ({(error.strerror or type(error).__name__).lower()})")
        return entries
    for name, is_folder, is_link in listed:
        if name.startswith("."):
            entries.skipped.append((prefix + name, "hidden"))
        elif name in LITTER:
            entries.skipped.append((prefix + name, "left by a file manager"))
        elif is_folder:
            (entries.linked_folders if is_link else entries.folders).append(prefix + name)
        else:
            entries.files.append(prefix + name)
    return entries


def _walk(folder: str) -> _Found:
    """Everything below a folder; a folder of many names once, by its own name rather than by a link's."""
    found = _Found()
    todo, links, seen = [folder], list[str](), set[tuple[int, int]]()
    while todo or links:
        path = todo.pop() if todo else links.pop()
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError as error:
            found.closed.append(f"{path} ({(error.strerror or type(error).__name__).lower()})")
            continue
        if (status.st_dev, status.st_ino) in seen:
            found.skipped.append((path, "a folder that was read by another name"))
            continue
        seen.add((status.st_dev, status.st_ino))
        entries = _look_into(path)
        found.files += entries.files
        found.skipped += entries.skipped
        found.closed += entries.closed
        todo += entries.folders
        links = sorted(links + entries.linked_folders, reverse=True)
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Links that go in a circle are no folders: they are listed, and refused by name."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]
