"""The catalog's datasets: kedro-datasets' own, written whole or not at all, and those of regraft's artefacts.

Knows how an artefact is stored; not which step makes it or what it means.
"""

# mypy: disallow-subclassing-any=False
# (kedro-datasets says nothing of its types)

import base64
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import ImagePreview
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset
from numpy.typing import NDArray

from regraft.adapters.files import written_whole
from regraft.adapters.unfinished import forget_unfinished, write_blocks
from regraft.images.blocks import ArrayBlocks
from regraft.messages import report_progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _WrittenWhole:
    """Lets a local file dataset of kedro-datasets write aside; the file appears when it is complete."""

    _filepath: PurePosixPath

    def save(self, data: Any) -> None:
        """Write beside the place, then rename."""
        path = self._filepath
        with written_whole(Path(path)) as aside:
            self._filepath = PurePosixPath(aside.as_posix())
            try:
                super().save(data)  # type: ignore[misc]
            finally:
                self._filepath = path


class WholeJSON(_WrittenWhole, JSONDataset):
    """JSON, keys in the order given."""


class WholeCSV(_WrittenWhole, CSVDataset):
    """A table as CSV.

    Args:
        text_columns: Columns read as text whatever is in them (a label `007` or `NA` stays what it is); an empty
            field is a missing value.
        settings: Of kedro-datasets' CSVDataset.
    """

    def __init__(self, *, text_columns: tuple[str, ...] = (), **settings: Any) -> None:
        load_args = {"dtype": dict.fromkeys(text_columns, "str"), "keep_default_na": False, "na_values": [""]}
        super().__init__(**{"load_args": load_args, **settings})


class WholeParquet(_WrittenWhole, ParquetDataset):
    """A table as Parquet: keeps the type of every column."""


class WholeText(_WrittenWhole, TextDataset):
    """Text, such as HTML or Markdown."""


class _LocalDataset(AbstractDataset[Any, Any]):
    """A file or folder of this machine."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = PurePosixPath(filepath)
        self.metadata = metadata

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._filepath)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath.as_posix()}

    def _exists(self) -> bool:
        return self.path.exists()


class WholeFigure(_LocalDataset):
    """A matplotlib figure as PNG, which Kedro-Viz can show.

    Not kedro-datasets' own: that imports pyplot, which takes as long as pandas, in every process that asks where
    the figures are.

    Args:
        save_args: Of `Figure.savefig`.
    """

    def __init__(
        self, *, filepath: str, save_args: dict[str, Any], metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._save_args = save_args

    def load(self) -> NoReturn:
        """Refused: a picture is no figure."""
        raise DatasetError(f"{self._filepath} is a picture; no step reads it")

    def save(self, data: "Figure") -> None:
        """Draw it."""
        with written_whole(self.path) as aside:
            data.savefig(aside, **self._save_args)

    def preview(self) -> ImagePreview:
        """The picture in base64."""
        return ImagePreview(base64.b64encode(self.path.read_bytes()).decode())


class FileFolder(_LocalDataset):
    """A folder of files, saved from a mapping of relative paths to files elsewhere, loaded as its path."""

    def load(self) -> Path:
        """Where the folder is."""
        return self.path

    def save(self, data: Mapping[str, Path]) -> None:
        """Copy the files; what was in the folder is gone."""
        if not data:
            # Nothing to save must never empty a folder: a user's own images may be in it.
            self.path.mkdir(parents=True, exist_ok=True)
            return
        with written_whole(self.path) as aside:
            aside.mkdir()
            for index, (name, source) in enumerate(sorted(data.items()), start=1):
                target = aside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                report_progress("copying the demonstration images", index, len(data))


class ArrayFile(_LocalDataset):
    """A NumPy array, saved block by block, loaded memory-mapped and read-only.

    Args:
        task: What the person at the terminal reads while it is computed.
    """

    def __init__(
        self, *, filepath: str, task: str = "computing", metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._task = task
        self._circumstances: str | None = None

    def load(self) -> NDArray[Any]:
        """The array, its pages read when they are looked at."""
        return _memory_map(self.path)

    def save(self, data: ArrayBlocks) -> None:
        """Compute the blocks one after another and write each as it comes."""
        write_blocks(self.path, data, task=self._task, circumstances=self._circumstances)

    def begin(self, circumstances: str | None) -> None:
        """See `unfinished.Unfinished.begin`."""
        self._circumstances = circumstances

    def finish(self) -> None:
        """See `unfinished.Unfinished.finish`."""
        forget_unfinished(self.path)


class ModelFile(_LocalDataset):
    """A backbone, a head or a classifier, as safetensors.

    Args:
        part: `backbone`, `head` or `classifier`.
    """

    def __init__(self, *, filepath: str, part: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self._part = part

    def load(self) -> Any:
        """The part, on the CPU.

        Raises:
            ValueError: If the file is no such part.
        """
        return _model_format(self._part)[0](self.path)

    def save(self, data: Any) -> None:
        """Write the part."""
        with written_whole(self.path) as aside:
            _model_format(self._part)[1](data, aside)


class ArrayFolder(AbstractDataset[Any, Any]):
    """Arrays kept between runs by key: a cache, loaded as itself. It is no part of any result.

    Args:
        folder: Everything in it can be deleted at any time, at the price of computing it again.
        max_bytes: More than that is not kept: what was not used for the longest time goes first, what this process
            uses stays.
    """

    def __init__(self, *, folder: str, max_bytes: float, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(folder)
        self._max_bytes = max_bytes
        self._used: set[Path] = set()
        self.metadata = metadata

    def load(self) -> "ArrayFolder":
        """The cache itself."""
        return self

    def save(self, data: Any) -> NoReturn:
        """Refused: it is no output.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("a cache is filled by get_or_compute, not by a node's output")

    def _describe(self) -> dict[str, Any]:
        return {"folder": self._folder.as_posix()}

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> NDArray[Any]:
        """See `training.border.ArrayStore`."""
        path = self._folder / f"{key}.npy"
        self._used.add(path)
        if path.is_file():
            path.touch()
        else:
            self._make_room(blocks.num_bytes)
            write_blocks(path, blocks, task="running the frozen stages", circumstances=key)
        return _memory_map(path)

    def _make_room(self, num_bytes: int) -> None:
        """Delete what was not used for the longest time until the budget holds so much more."""
        kept = sorted(self._folder.glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
        excess = num_bytes + sum(path.stat().st_size for path in kept) - self._max_bytes
        for path in kept:
            if excess > 0 and path not in self._used:
                excess -= path.stat().st_size
                path.unlink()


def _memory_map(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, mmap_mode="r")
    return array


def _model_format(part: str) -> tuple[Callable[[Path], Any], Callable[[Any, Path], None]]:
    from regraft import classifier as files  # here, since it imports torch

    formats: dict[str, tuple[Callable[[Path], Any], Callable[[Any, Path], None]]] = {
        "backbone": (files.load_backbone, files.save_backbone),
        "head": (files.load_head, files.save_head),
        "classifier": (files.load_classifier, files.save_classifier),
    }
    if part not in formats:
        raise ValueError(f"unknown part {part!r} of a model; known: {', '.join(formats)}")
    return formats[part]
