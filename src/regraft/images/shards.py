"""Shards: many images in a few large tar files, with an index that says where in them each one lies.

Reads them as if their files lay below the folder: `packed/cats/1.jpg` is the member `cats/1.jpg` of one of the
shards in `packed`. Writes nothing; `packing` makes them.
"""

import csv
import functools
import hashlib
import itertools
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from regraft.images.faults import SourceError, join_faults, show_first

INDEX_NAME: Final = "shards.csv"
INDEX_COLUMNS: Final = ("name", "shard", "offset", "num_bytes", "sha256")
BLOCK_BYTES: Final = 512  # tar: every member begins at a multiple of it
_RECORD_BYTES: Final = 20 * BLOCK_BYTES  # tar: and a whole file is a multiple of that
_SHARD_NAME: Final = re.compile(r"shard-\d{5,}\.tar")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

_index_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class PackedFile:
    """Where a file's bytes are, and their hash."""

    shard: str
    offset: int
    num_bytes: int
    sha256: str


def is_packed(folder: Path) -> bool:
    """Whether a folder holds shards in place of images."""
    return (folder / INDEX_NAME).is_file()


def holds_shards(folder: Path) -> bool:
    """The same, though the index be lost."""
    return is_packed(folder) or any(_SHARD_NAME.fullmatch(entry.name) for entry in folder.iterdir())


def shard_name(number: int) -> str:
    """The file name of a shard, counted from 0."""
    return f"shard-{number:05d}.tar"


def shard_size(end_of_data: int) -> int:
    """Bytes of a tar whose last member ends there: two empty blocks, then filled up to a whole record."""
    last_block = -(-end_of_data // BLOCK_BYTES) * BLOCK_BYTES
    return -(-(last_block + 2 * BLOCK_BYTES) // _RECORD_BYTES) * _RECORD_BYTES


def packed_files(folder: Path) -> Mapping[str, PackedFile]:
    """The index of a folder of shards, checked, by the files' names below the folder they came from.

    Raises:
        SourceError: If the index is not there or damaged, or a shard is not there or not as long as the index says;
            all faults at once.
    """
    files = _index_of(folder)
    if faults := _find_shard_faults(folder, files.values()):
        raise SourceError(
            f"the shards in {folder.as_posix()} are not those of {INDEX_NAME} (put them back, or pack the images "
            f"again): {join_faults(faults)}"
        )
    return files


def find_packed(path: str | os.PathLike[str]) -> tuple[Path, PackedFile] | None:
    """Where a file lies in shards, by its path below their folder: the folder, and where in it; None if in none.

    Raises:
        SourceError: If it would lie among shards whose index is damaged.
    """
    given = Path(path)
    for folder in given.parents:
        if is_packed(folder):
            file = _index_of(folder).get(given.relative_to(folder).as_posix())
            return None if file is None else (folder, file)
    return None


def read_packed(folder: Path, file: PackedFile) -> bytes:
    """The bytes of a file in shards. Safe in threads and processes: nothing is kept open.

    Raises:
        SourceError: If the shard is damaged, or does not belong to the index.
    """
    try:
        with (folder / file.shard).open("rb") as shard:
            shard.seek(file.offset)
            data = shard.read(file.num_bytes)
    except OSError as error:
        raise SourceError(f"{file.shard}: {(error.strerror or type(error).__name__).lower()}") from error
    if len(data) < file.num_bytes:
        raise SourceError(f"{file.shard} ends before byte {file.offset + file.num_bytes}")
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise SourceError(
            f"{file.shard} is damaged at byte {file.offset}, or {INDEX_NAME} is of other shards"
        )
    return data


def find_name_faults(names: Sequence[str]) -> list[str]:
    """What is wrong with names below a folder: no name twice, and none that leads out of it."""
    faults = []
    if repeated := [name for name, after in itertools.pairwise(names) if name == after]:
        faults.append(f"{len(repeated)} names stand twice: {show_first(repeated)}")
    if outside := [repr(name) for name in names if not _is_inside(name)]:
        faults.append(f"{len(outside)} names are not below the folder: {show_first(outside)}")
    return faults


def _index_of(folder: Path) -> Mapping[str, PackedFile]:
    """The index without a look at the shards."""
    path = folder / INDEX_NAME
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(
            f"{path.as_posix()} is not there: it says where in the shards each file is. Put it back, or pack the "
            "images again."
        ) from error
    with _index_lock:  # else every reading thread would read it
        return _read_index(path, (status.st_ino, status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=4)
def _read_index(path: Path, _stamp: tuple[int, ...]) -> Mapping[str, PackedFile]:
    """Read again when the file has changed."""
    files: dict[str, PackedFile] = {}
    names: list[str] = []
    damaged: list[str] = []
    shards: dict[str, str] = {}  # one text a shard, not one a file
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.reader(file, strict=True)
            if tuple(header := next(lines, [])) != INDEX_COLUMNS:
                raise SourceError(
                    f"{path.as_posix()}: the columns are {', '.join(header) or 'none'}; an index of shards has "
                    f"{', '.join(INDEX_COLUMNS)}"
                )
            for values in lines:
                if not _is_row(values):
                    damaged.append(f"line {lines.line_num}")
                    continue
                name, shard, offset, num_bytes, sha256 = values
                names.append(name)
                files[name] = PackedFile(shards.setdefault(shard, shard), int(offset), int(num_bytes), sha256)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path.as_posix()} is damaged: {error}") from error
    faults = find_name_faults(sorted(names))
    if damaged:
        faults.append(f"{len(damaged)} lines are damaged: {show_first(damaged)}")
    if faults:
        raise SourceError(f"{path.as_posix()}: {join_faults(faults)}")
    return files


def _is_row(values: Sequence[str]) -> bool:
    return (
        len(values) == len(INDEX_COLUMNS)
        and _SHARD_NAME.fullmatch(values[1]) is not None
        and all(number.isascii() and number.isdigit() for number in values[2:4])
        and _SHA256.fullmatch(values[4]) is not None
    )


def _is_inside(name: str) -> bool:
    """A relative path of plain parts, the same on every system; `unpack` writes where it says."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\0" not in name


def _find_shard_faults(folder: Path, files: Iterable[PackedFile]) -> list[str]:
    """Shards that are missing, or of another length than the index says, or that it does not know."""
    ends: dict[str, int] = {}
    for file in files:
        ends[file.shard] = max(ends.get(file.shard, 0), file.offset + file.num_bytes)
    present = {
        entry.name: entry.stat().st_size for entry in folder.iterdir() if _SHARD_NAME.fullmatch(entry.name)
    }
    faults = []
    if missing := sorted(ends.keys() - present.keys()):
        faults.append(f"{len(missing)} shards are not there: {show_first(missing)}")
    if unknown := sorted(present.keys() - ends.keys()):
        faults.append(f"{len(unknown)} shards are not in {INDEX_NAME}: {show_first(unknown)}")
    lengths = [
        f"{name} ({present[name]} bytes, not {shard_size(end)})"
        for name, end in sorted(ends.items())
        if name in present and present[name] != shard_size(end)
    ]
    if lengths:
        faults.append(f"{len(lengths)} shards are of another length: {show_first(lengths)}")
    return faults
