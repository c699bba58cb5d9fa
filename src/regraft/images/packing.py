"""Packing: a folder's files into a few large shards, the same bytes each time, and back.

Opens no image: each file is copied byte for byte, whatever is in it. `shards` reads what is written here.
"""

import csv
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from regraft.images.faults import SourceError, join_faults, show_first
from regraft.images.file_names import is_unicode, is_visible
from regraft.images.folders import quote_path, require_folder
from regraft.images.shards import (
    BLOCK_BYTES,
    INDEX_COLUMNS,
    INDEX_NAME,
    PackedFile,
    holds_shards,
    packed_files,
    read_packed,
    shard_name,
    shard_size,
)

SHARD_BYTES: Final = 128 * 2**20
_CHUNK_BYTES: Final = 2**20

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    num_files: int
    num_bytes: int
    num_shards: int
    left_out: tuple[str, ...]


def pack_folder(folder: Path, into: Path, *, shard_bytes: int, on_progress: Progress) -> Packed:
    """Copy all visible files below a folder into tar files and an index of them.

    Shards are half to twice as long as asked, seldom more, a larger file alone. Where one ends follows from the names
    and sizes around the place, not from all that came before: a file more changes one to three shards, and DVC
    stores the others once. Bytes follow from names and contents alone: no time, owner or mode.

    Args:
        folder: Files at any depth; hidden ones and file managers' litter are left out.
        into: An empty folder.
        shard_bytes: About how long a shard shall be.
        on_progress: Called with the numbers of files done and of all.

    Returns:
        Counts, and the names that were left out.

    Raises:
        SourceError: If the folder is not there or empty or holds shards already, or has links, devices, or names that
            are not UTF-8; all faults at once. Or if a file changes meanwhile.
        ValueError: If `shard_bytes` is below 1.
    """
    if shard_bytes < 1:
        raise ValueError(f"shard_bytes must be at least 1, got {shard_bytes}")
    require_folder(folder, "to pack")
    if holds_shards(folder):
        raise SourceError(f"the folder {quote_path(folder)} holds shards already")
    names, left_out = _list_files(folder)
    rows: list[tuple[str, PackedFile]] = []
    for number, shard_names in enumerate(_cut(folder, names, shard_bytes)):
        with (into / shard_name(number)).open("wb") as shard:
            for name in shard_names:
                rows.append((name, _append(shard, folder / name, name, number)))
                on_progress(len(rows), len(names))
            end = shard.tell()
            shard.write(bytes(shard_size(end) - end))
    _write_index(into / INDEX_NAME, rows)
    num_bytes = sum(file.num_bytes for _, file in rows)
    return Packed(len(rows), num_bytes, len({file.shard for _, file in rows}), tuple(left_out))


def unpack_folder(folder: Path, into: Path, *, on_progress: Progress) -> int:
    """Write the files of a folder of shards below an empty folder, as they were; how many there were.

    Raises:
        SourceError: If the shards or their index are damaged, or two names are one to this file system.
    """
    require_folder(folder, "to unpack")
    files = packed_files(folder)
    for done, (name, file) in enumerate(files.items(), start=1):
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = read_packed(folder, file)
        try:
            with path.open("xb") as copy:
                copy.write(data)
        except FileExistsError as error:
            raise SourceError(
                f"{name}: this file system has such a file already, but for its case"
            ) from error
        on_progress(done, len(files))
    return len(files)


def _list_files(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files to pack and of those to leave out, sorted; whatever is neither is a fault."""
    names, left_out, links, special = [], [], [], []
    for entry, name in _walk(folder, ""):
        if not is_visible(entry.name):
            left_out.append(name)
        elif entry.is_symlink():
            links.append(name)
        elif entry.is_dir():
            left_out.append(f"{name}/ (empty)")
        elif stat.S_ISREG(entry.stat().st_mode):
            names.append(name)
        else:
            special.append(name)
    faults = []
    if links:
        faults.append(
            f"{len(links)} links, which may lead anywhere: {show_first(sorted(links))}. Put files there."
        )
    if special:
        faults.append(f"{len(special)} are neither files nor folders: {show_first(sorted(special))}")
    if undecodable := [repr(name) for name in names if not is_unicode(name)]:
        faults.append(
            f"{len(undecodable)} names are not UTF-8, rename them: {show_first(sorted(undecodable))}"
        )
    if not names and not faults:
        faults.append("no file to pack")
    if faults:
        raise SourceError(f"the folder {quote_path(folder)}: {join_faults(faults)}")
    return sorted(names), sorted(left_out)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Whatever is below a folder; of folders only hidden ones, links and empty ones."""
    with os.scandir(folder) as entries:
        for entry in entries:
            inner: list[tuple[os.DirEntry[str], str]] = []
            if is_visible(entry.name) and entry.is_dir(follow_symlinks=False):
                inner = list(_walk(folder / entry.name, f"{prefix}{entry.name}/"))
            yield from inner or [(entry, prefix + entry.name)]


def _cut(folder: Path, names: list[str], shard_bytes: int) -> Iterator[list[str]]:
    """Names by shard: at the first lucky one after half of the wanted length, at twice of it in any case."""
    shard: list[str] = []
    length = 0
    for name in names:
        num_bytes = BLOCK_BYTES * (1 + -(-(folder / name).stat().st_size // BLOCK_BYTES))
        luck = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
        is_lucky = length >= shard_bytes / 2 and luck < num_bytes / (shard_bytes / 2)
        if shard and (is_lucky or length + num_bytes > 2 * shard_bytes):
            yield shard
            shard, length = [], 0
        shard.append(name)
        length += num_bytes
    yield shard


def _append(shard: BinaryIO, path: Path, name: str, number: int) -> PackedFile:
    """Write one member with nothing but its name and bytes."""
    member = tarfile.TarInfo(name)
    member.size = path.stat().st_size
    shard.write(member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
    offset, digest = shard.tell(), hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            shard.write(chunk)
    num_bytes = shard.tell() - offset
    if num_bytes != member.size:
        raise SourceError(f"{path.as_posix()} changed while it was packed; pack again")
    shard.write(bytes(-num_bytes % BLOCK_BYTES))
    return PackedFile(shard_name(number), offset, num_bytes, digest.hexdigest())


def _write_index(path: Path, rows: list[tuple[str, PackedFile]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        # All texts quoted: a name may hold a carriage return, which the writer else leaves bare.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(INDEX_COLUMNS)
        writer.writerows((name, f.shard, f.offset, f.num_bytes, f.sha256) for name, f in rows)
