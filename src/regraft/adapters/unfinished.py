"""Work under way, kept on disk so that a killed process goes on: arrays half written, save points of training.

Knows files, not what is in them. Whether what was kept still holds is told by its circumstances: a hash of all the
result follows from. Kept under others, it is thrown away.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

import numpy as np
from kedro.io import AbstractDataset, DatasetError

from regraft.adapters.files import flush_entry, written_whole
from regraft.adapters.write_faults import is_about_writing, require_room, write_error
from regraft.images.blocks import ArrayBlocks
from regraft.messages import report_progress


@runtime_checkable
class Unfinished(Protocol):
    """A dataset that keeps what a killed node had done."""

    def begin(self, circumstances: str | None) -> None:
        """Keep what is there only if it was made under the same circumstances; None keeps nothing."""
        ...

    def finish(self) -> None:
        """The node has ended: nothing is to be gone on from."""
        ...


class SavePointFolder(AbstractDataset[Any, Any]):
    """Save points of one node, loaded as itself; see `regraft.save_points`. They are no part of any result.

    Args:
        folder: Of its own.
        save_every_s: Seconds from one save point to the next.
    """

    def __init__(self, *, folder: str, save_every_s: float, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self._save_every_s = save_every_s
        self.metadata = metadata
        self._last_s = time.monotonic()

    def load(self) -> "SavePointFolder":
        """The save points themselves."""
        return self

    def save(self, data: Any) -> NoReturn:
        """Refused: they are no output.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("save points are written by the node that reads them, not by a node's output")

    def begin(self, circumstances: str | None) -> None:
        """See `Unfinished.begin`."""
        self._last_s = time.monotonic()
        if circumstances is None or self.read("circumstances") != circumstances.encode():
            self.finish()
            if circumstances is not None:
                self.write("circumstances", circumstances.encode())

    def finish(self) -> None:
        """See `Unfinished.finish`."""
        for path in self._folder.glob("*"):
            path.unlink()

    def is_due(self) -> bool:
        """See `SavePoints.is_due`."""
        return time.monotonic() - self._last_s >= self._save_every_s

    def read(self, name: str) -> bytes | None:
        """See `SavePoints.read`."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """See `SavePoints.write`."""
        with written_whole(self._folder / name, needed_bytes=len(data)) as aside:
            aside.write_bytes(data)
        self._last_s = time.monotonic()

    def forget(self, name: str) -> None:
        """See `SavePoints.forget`."""
        (self._folder / name).unlink(missing_ok=True)

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.as_posix()}


def write_blocks(path: Path, blocks: ArrayBlocks, *, task: str, circumstances: str | None) -> None:
    """Stream an array to a .npy file that appears when it is whole, a block in memory at a time.

    Args:
        path: Of the file.
        blocks: Computed one after another.
        task: What the person at the terminal reads meanwhile.
        circumstances: All the array follows from, hashed: blocks that a killed process wrote under the same are not
            computed again. None computes all.

    Raises:
        WriteError: If the file cannot be written; then nothing of it is left.
    """
    unfinished = _UnfinishedFile(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.begin(circumstances)
        require_room(path, blocks.num_bytes - unfinished.num_bytes)
        _write_rest(unfinished, blocks, task, circumstances)
        unfinished.put_in_place()
    except BaseException as error:
        about_writing = isinstance(error, OSError) and is_about_writing(error, path, unfinished.data)
        if about_writing or circumstances is None:
            with suppress(OSError):
                unfinished.remove()
        if isinstance(error, OSError) and about_writing:
            raise write_error(error, path, blocks.num_bytes) from error
        raise


def forget_unfinished(path: Path) -> None:
    """Throw away what a killed `write_blocks` of that file left."""
    _UnfinishedFile(path).remove()


class _UnfinishedFile:
    """The file under way beside its place, and how many of its rows are safely on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.data = path.with_name(f".{path.name}.unfinished")
        self._rows = path.with_name(f".{path.name}.unfinished.json")
        self.num_rows = 0

    @property
    def num_bytes(self) -> int:
        """On disk already."""
        return self.data.stat().st_size if self.data.exists() else 0

    def begin(self, circumstances: str | None) -> None:
        """Keep what was made under the same circumstances, if any."""
        try:
            kept = json.loads(self._rows.read_text())
        except (FileNotFoundError, ValueError):
            kept = {}
        if circumstances is not None and kept.get("circumstances") == circumstances and self.data.exists():
            self.num_rows = int(kept["num_rows"])
        else:
            self.remove()

    def mark(self, num_rows: int, circumstances: str | None) -> None:
        """Say that so many rows are on disk; whoever says so has flushed them."""
        with written_whole(self._rows) as aside:
            aside.write_text(json.dumps({"circumstances": circumstances, "num_rows": num_rows}))

    def put_in_place(self) -> None:
        """Rename it to what it is now."""
        self.data.replace(self._path)
        flush_entry(self._path.parent)
        self._rows.unlink(missing_ok=True)

    def remove(self) -> None:
        """Leave nothing; the record first, so that it never speaks of data that is gone."""
        self._rows.unlink(missing_ok=True)
        self.data.unlink(missing_ok=True)


def _write_rest(
    unfinished: _UnfinishedFile, blocks: ArrayBlocks, task: str, circumstances: str | None
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(blocks.dtype)), "fortran_order": False}
    row_bytes = blocks.num_bytes // max(1, blocks.shape[0])
    with unfinished.data.open("r+b" if unfinished.num_rows else "w+b") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": blocks.shape})
        # What lies behind the last row that is known to be on disk may be torn.
        file.seek(unfinished.num_rows * row_bytes, os.SEEK_CUR)
        file.truncate()
        done = unfinished.num_rows
        report_progress(task, done, blocks.shape[0])
        for block in blocks.after(done):
            file.write(np.ascontiguousarray(block).data)
            file.flush()
            os.fsync(file.fileno())
            done += len(block)
            if circumstances is not None:
                unfinished.mark(done, circumstances)
            report_progress(task, done, blocks.shape[0])
