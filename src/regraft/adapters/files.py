"""Files that appear whole or not at all, and content hashes that are not computed twice.

Knows nothing of what is in a file.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regraft.adapters.write_faults import is_about_writing, require_room, write_error

STATE_FOLDER = Path(".regraft")  # in a project: what this checkout remembers; losing it costs time
_CHUNK_BYTES = 1 << 20


@contextmanager
def written_whole(path: Path, *, needed_bytes: int | None = None) -> Iterator[Path]:
    """A path to write a file or a folder to; it takes the place of `path` when the block ends without an error.

    A process killed at any moment leaves either what was there before or the whole new content; of a folder, in the
    instant between two renames, nothing under its name until `clear_leftovers`.

    Args:
        path: Of a local file or folder.
        needed_bytes: How large it will be, if that is known: without the room for it nothing is begun.

    Raises:
        WriteError: If `path` cannot be written; of a full disk nothing is left but what was there before.
    """
    aside = _aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(aside)
        if needed_bytes is not None:
            require_room(path, needed_bytes)
        yield aside
        _flush(aside)
        _put_in_place(aside, path)
        flush_entry(path.parent)
    except BaseException as error:
        with suppress(OSError):
            _remove(aside)
        if isinstance(error, OSError) and is_about_writing(error, path, _aside(path)):
            raise write_error(error, path, needed_bytes) from error
        raise


def clear_leftovers(path: Path) -> None:
    """Put in order what a killed `written_whole` left beside `path`; nobody else may be writing it.

    Raises:
        WriteError: If that is not allowed.
    """
    old = _stepped_aside(path)
    try:
        if old.exists():
            if path.exists():
                _remove(old)
            else:
                old.rename(path)
        if _aside(path).exists():
            _remove(_aside(path))
    except OSError as error:
        raise write_error(error, path) from error


def clear_leftovers_below(folder: Path) -> None:
    """The same for all that was written below a folder of our own, at any depth."""
    for leftover in [*folder.rglob(_aside(Path("*")).name), *folder.rglob(_stepped_aside(Path("*")).name)]:
        clear_leftovers(leftover.with_name(leftover.name[1:].rpartition(".")[0]))


class ContentHashes:
    """sha256 of files and folders, remembered by inode, size and time of change as git and DVC do.

    Args:
        memory: A JSON file of this machine; losing it costs time, nothing else.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known: dict[str, list[object]] = {}
        self._is_changed = False
        with suppress(FileNotFoundError, json.JSONDecodeError):
            self._known = json.loads(memory.read_text())

    def of(self, path: Path) -> str | None:
        """Hash of a file's bytes, or of all files below a folder and their names; None if nothing is there."""
        if path.is_dir():
            digest = hashlib.sha256()
            start = len(str(path)) + 1
            for file in sorted(_files_below(str(path))):
                digest.update(os.fsencode(f"{file[start:]}\0{self._of_file(file)}\n"))
            return digest.hexdigest()
        return self._of_file(str(path)) if path.is_file() else None

    def save(self) -> None:
        """Write what was learnt to the memory file."""
        if self._is_changed:
            with written_whole(self._memory) as aside:
                aside.write_text(json.dumps(self._known, sort_keys=True))
            self._is_changed = False

    def _of_file(self, path: str) -> str:
        key, status = os.path.abspath(path), os.stat(path)  # noqa: PTH100, PTH116  # of a million files
        stamp = [status.st_ino, status.st_size, status.st_mtime_ns]
        if (known := self._known.get(key)) and known[:3] == stamp:
            return str(known[3])
        digest = hashlib.sha256()
        try:
            with Path(path).open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except PermissionError:  # whoever reads the file tells it, with a reason
            return "may not be read"
        self._known[key] = [*stamp, digest.hexdigest()]
        self._is_changed = True
        return digest.hexdigest()


def _files_below(folder: str) -> Iterator[str]:
    """Links are followed, which rglob does not; a folder that many lead to is looked into once."""
    todo, seen = [folder], set[tuple[int, int]]()
    while todo:
        path = todo.pop()
        with suppress(OSError):  # may not be read, or gone: as if it were empty
            status = os.stat(path)  # noqa: PTH116
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    with suppress(OSError):  # a link in a circle
                        if entry.is_dir():
                            todo.append(entry.path)
                        elif entry.is_file():
                            yield entry.path


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.writing")


def _stepped_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def _put_in_place(aside: Path, path: Path) -> None:
    if path.is_dir():
        # A folder cannot be renamed over a full one: the old one steps aside first.
        old = _stepped_aside(path)
        _remove(old)
        path.rename(old)
        aside.rename(path)
        _remove(old)
    else:
        aside.replace(path)


def _flush(path: Path) -> None:
    for file in [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]:
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())


def flush_entry(folder: Path) -> None:
    """Have the disk know what is in a folder: a rename is safe only then."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
