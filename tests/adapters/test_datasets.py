import io
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError

from regraft.adapters.datasets import (
    ArrayFile,
    ArrayFolder,
    FileFolder,
    ModelFile,
    WholeCSV,
    WholeFigure,
    WholeJSON,
    WholeParquet,
    WholeText,
)
from regraft.images.blocks import ArrayBlocks
from regraft.messages import PROGRESS_LOGGER

PROJECT = Path(__file__).parents[2]
TABLE = pd.DataFrame({"id": [0, 1], "label": ["007", "NA"], "score": [0.1, 1e-17]})


class Unwritable:
    """What no format can hold."""


def make_blocks(array: np.ndarray, *, block_rows: int, fail_at: int | None = None) -> ArrayBlocks:
    def compute(start: int, stop: int) -> np.ndarray:
        if fail_at is not None and stop > fail_at:
            raise ZeroDivisionError
        return array[start:stop]

    return ArrayBlocks(array.shape, array.dtype.name, block_rows, compute)


def draw() -> Any:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 3, 2])
    return figure


@pytest.mark.parametrize(
    ("dataset", "good", "bad"),
    [
        (WholeJSON, {"b": 1, "a": [0.1]}, {"a": Unwritable()}),
        (WholeText, "<p>ä</p>", 3),
        (WholeCSV, TABLE, "no table"),
        (WholeParquet, TABLE, pd.DataFrame({"a": [Unwritable()]})),
    ],
)
def test_what_is_saved_comes_back_and_a_failure_leaves_it(
    tmp_path: Path, dataset: Callable[..., Any], good: Any, bad: Any
) -> None:
    path = tmp_path / "deep" / "artefact"
    one = dataset(filepath=path.as_posix())
    one.save(good)
    before = path.read_bytes()
    with pytest.raises(DatasetError):
        one.save(bad)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["artefact"]
    one.save(good)
    assert path.read_bytes() == before, "the same content, the same bytes"
    loaded = one.load()
    if isinstance(good, pd.DataFrame):
        loaded = loaded[["id", "label", "score"]]
        if dataset is WholeParquet:
            pd.testing.assert_frame_equal(loaded, good)
    else:
        assert loaded == good


def test_a_half_written_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    one = WholeParquet(filepath=path.as_posix())
    seen = []
    write = pd.DataFrame.to_parquet

    def watched(table: pd.DataFrame, *args: Any, **settings: Any) -> Any:
        result = write(table, *args, **settings)
        seen.append(path.exists())
        return result

    monkeypatch.setattr(pd.DataFrame, "to_parquet", watched)
    one.save(TABLE)
    assert seen == [False]
    assert path.exists()


def test_text_columns_stay_text(tmp_path: Path) -> None:
    settings = {
        "filepath": (tmp_path / "table.csv").as_posix(),
        "save_args": {"index": False, "lineterminator": "\n"},
    }
    table = pd.DataFrame({"label": ["007", "NA", None, "nan"], "number": [1, 2, 3, 4]})
    careful = WholeCSV(text_columns=("label",), **settings)
    careful.save(table)
    loaded = careful.load()
    assert loaded["label"].tolist()[:2] == ["007", "NA"]
    assert loaded["label"].isna().tolist() == [False, False, True, False]
    assert loaded["number"].tolist() == [1, 2, 3, 4]
    numbers = pd.DataFrame({"label": ["007", "008"]})
    careful.save(numbers)
    assert careful.load()["label"].tolist() == ["007", "008"]
    assert WholeCSV(**settings).load()["label"].tolist() == [7, 8], "the planted fault"


def test_figures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    entry = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())["{name}_figure"]
    contents = []
    for name in ("one.png", "two.png"):
        WholeFigure(filepath=(tmp_path / name).as_posix(), save_args=entry["save_args"]).save(draw())
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"\x89PNG")
    assert b"Software" not in contents[0]


@pytest.mark.parametrize("shape", [(7, 2, 3), (4,), (1, 5)])
def test_array_is_streamed_to_the_very_file_numpy_writes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    one = ArrayFile(filepath=(tmp_path / "array.npy").as_posix())
    one.save(make_blocks(array, block_rows=3))
    expected = io.BytesIO()
    np.save(expected, array)
    assert (tmp_path / "array.npy").read_bytes() == expected.getvalue()
    loaded = one.load()
    assert isinstance(loaded, np.memmap)
    assert np.array_equal(loaded, array)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0] = 0


def test_a_block_that_fails_leaves_the_old_array(tmp_path: Path) -> None:
    one = ArrayFile(filepath=(tmp_path / "array.npy").as_posix())
    one.save(make_blocks(np.arange(5), block_rows=2))
    with pytest.raises((ZeroDivisionError, DatasetError)):
        one.save(make_blocks(np.zeros(9), block_rows=2, fail_at=6))
    assert one.load().tolist() == [0, 1, 2, 3, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == ["array.npy"]


def test_progress_is_told_block_by_block(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(PROGRESS_LOGGER), "propagate", True)
    one = ArrayFile(filepath=(tmp_path / "array.npy").as_posix(), task="decoding images")
    with caplog.at_level(logging.DEBUG, PROGRESS_LOGGER):
        one.save(make_blocks(np.arange(5), block_rows=2))
    told = [(record.task, record.done, record.total) for record in caplog.records]
    assert told == [("decoding images", done, 5) for done in (0, 2, 4, 5)]


def test_files_are_copied_as_one_folder(tmp_path: Path) -> None:
    source = tmp_path / "package"
    source.mkdir()
    (source / "a.txt").write_text("a")
    (source / "b.txt").write_text("b")
    one = FileFolder(filepath=(tmp_path / "raw").as_posix())
    assert not one.exists()
    one.save({"labels.csv": source / "a.txt", "images/b.txt": source / "b.txt"})
    assert one.load() == tmp_path / "raw"
    assert (tmp_path / "raw/images/b.txt").read_text() == "b"
    one.save({"only.txt": source / "a.txt"})
    assert [entry.name for entry in (tmp_path / "raw").iterdir()] == ["only.txt"]
    with pytest.raises((FileNotFoundError, DatasetError)):
        one.save({"x": source / "none.txt"})
    assert [entry.name for entry in (tmp_path / "raw").iterdir()] == ["only.txt"]
    one.save({})
    assert [entry.name for entry in (tmp_path / "raw").iterdir()] == ["only.txt"]


def test_models_come_back_and_a_failure_leaves_them(
    tmp_path: Path, make_classifier: Callable[[int], bytes]
) -> None:
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(make_classifier(0))
    one = ModelFile(filepath=path.as_posix(), part="classifier")
    classifier = one.load()
    before = path.read_bytes()
    one.save(classifier)
    assert path.read_bytes() == before
    with pytest.raises((AttributeError, DatasetError)):
        one.save("no classifier")
    assert path.read_bytes() == before
    with pytest.raises((ValueError, DatasetError), match="holds 'classifier', not a head"):
        ModelFile(filepath=path.as_posix(), part="head").load()
    with pytest.raises(
        (ValueError, DatasetError), match="unknown part 'hat' of a model; known: backbone, head"
    ):
        ModelFile(filepath=path.as_posix(), part="hat").load()


def test_a_cache_computes_once_a_key(tmp_path: Path) -> None:
    cache = ArrayFolder(folder=(tmp_path / "cache").as_posix(), max_bytes=1e9).load()
    first = cache.get_or_compute("a", make_blocks(np.arange(4), block_rows=3))
    again = cache.get_or_compute("a", make_blocks(np.zeros(4), block_rows=3, fail_at=0))
    other = cache.get_or_compute("b", make_blocks(np.zeros(2), block_rows=3))
    assert first.tolist() == again.tolist() == [0, 1, 2, 3]
    assert other.tolist() == [0, 0]
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("c", make_blocks(np.zeros(4), block_rows=1, fail_at=2))
    assert sorted(entry.name for entry in (tmp_path / "cache").glob("[!.]*")) == ["a.npy", "b.npy"]
    assert cache.get_or_compute("c", make_blocks(np.zeros(4), block_rows=1)).tolist() == [0, 0, 0, 0]


def test_a_cache_keeps_to_its_budget_and_forgets_what_was_used_least_recently(tmp_path: Path) -> None:
    array_bytes = make_blocks(np.zeros(100), block_rows=100).num_bytes
    for number, key in enumerate("abc"):
        cache = ArrayFolder(folder=tmp_path.as_posix(), max_bytes=3.5 * array_bytes)
        cache.get_or_compute(key, make_blocks(np.zeros(100), block_rows=100))
        os.utime(tmp_path / f"{key}.npy", (number, number))
    cache = ArrayFolder(folder=tmp_path.as_posix(), max_bytes=3.5 * array_bytes)
    cache.get_or_compute("a", make_blocks(np.ones(100), block_rows=100, fail_at=0))  # there, and used now
    cache.get_or_compute("d", make_blocks(np.zeros(100), block_rows=100))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]


def test_what_a_process_uses_is_kept_beyond_the_budget(tmp_path: Path) -> None:
    cache = ArrayFolder(folder=tmp_path.as_posix(), max_bytes=1)
    for key in "ab":
        cache.get_or_compute(key, make_blocks(np.zeros(100), block_rows=100))
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_cache_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="get_or_compute"):
        ArrayFolder(folder=tmp_path.as_posix(), max_bytes=1).save(1)


def test_every_entry_of_the_shipped_catalog_can_be_made() -> None:
    entries = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
    named = {name: entry for name, entry in entries.items() if not name.startswith("_") and "{" not in name}
    catalog = DataCatalog.from_config(named)
    for name in named:
        assert catalog.get(name) is not None
    folders = {Path(entry["filepath"]).parts[:2] for entry in named.values() if "filepath" in entry}
    assert all(parts[0] == "data" and parts[1][:2].isdigit() for parts in folders)


def test_nothing_to_save_empties_no_folder(tmp_path: Path) -> None:
    own = tmp_path / "elpv" / "cats" / "1.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"a user's own image")
    FileFolder(filepath=(tmp_path / "elpv").as_posix()).save({})
    assert own.read_bytes() == b"a user's own image"
