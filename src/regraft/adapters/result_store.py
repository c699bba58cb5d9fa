"""Datasets of comparisons: a folder of results kept by key, and a file of tried models.

Knows how they are stored; not what a key stands for.
"""

# mypy: disallow-subclassing-any=False

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

import regraft
from regraft.adapters.files import written_whole

if TYPE_CHECKING:
    from regraft.comparing.tried import Tried


class ResultFolder(AbstractDataset[Any, Any]):
    """Results kept between runs by key, loaded as itself; see `comparing.tried.ResultStore`. No part of any result.

    Args:
        folder: Everything in it can be deleted at any time, at the price of computing it again.
        rooms: Folders and files of regraft whose code the results follow from: what other code wrote is not read.
    """

    def __init__(self, *, folder: str, rooms: Sequence[str], metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self._rooms = tuple(rooms)
        self._code: str | None = None
        self.metadata = metadata

    def load(self) -> "ResultFolder":
        """The folder itself."""
        return self

    def save(self, data: Any) -> NoReturn:
        """Refused: it is no output.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("results are kept by write, not by a node's output")

    def read(self, key: str) -> bytes | None:
        """See `ResultStore.read`."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """See `ResultStore.write`."""
        path = self._path(key)
        if not path.parent.exists():  # the first of this code: what other code left would never be read
            shutil.rmtree(self._folder, ignore_errors=True)
        with written_whole(path, needed_bytes=len(data)) as aside:
            aside.write_bytes(data)

    def _path(self, key: str) -> Path:
        if self._code is None:
            self._code = _hash_rooms(self._rooms)
        return self._folder / self._code / key

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.as_posix(), "rooms": self._rooms}


class WorkFolder(AbstractDataset[Any, Any]):
    """A folder whose files a node keeps from run to run, loaded as its path. No part of any result.

    Args:
        folder: Everything in it can be deleted at any time, at the price of doing it again.
    """

    def __init__(self, *, folder: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self.metadata = metadata

    def load(self) -> Path:
        """Where it is; it may not be there yet."""
        return self._folder

    def save(self, data: Any) -> NoReturn:
        """Refused: it is no output.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("files are kept by the node that reads them, not by a node's output")

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.as_posix()}


class TriedModels(AbstractDataset[Any, Any]):
    """Tried models in one file."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    def load(self) -> "list[Tried]":
        """In the order they were saved."""
        from regraft.comparing.tried import unpack

        return unpack(Path(self._filepath).read_bytes())

    def save(self, data: "Sequence[Tried]") -> None:
        """Write them."""
        from regraft.comparing.tried import pack

        with written_whole(Path(self._filepath)) as aside:
            aside.write_bytes(pack(data))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}

    def _exists(self) -> bool:
        return Path(self._filepath).exists()


def _hash_rooms(rooms: Sequence[str]) -> str:
    """Of all modules of some folders of regraft, and of the version of torch."""
    from importlib.metadata import version

    package = Path(regraft.__file__).parent
    digest = hashlib.sha256(version("torch").encode())
    for room in sorted(rooms):
        place = package / room
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        if not files:
            raise ValueError(f"regraft has no {room!r}; see the rooms in docs/architecture.md")
        for file in files:
            digest.update(file.relative_to(package).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
