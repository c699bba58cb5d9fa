"""Work that a process left unfinished when it was killed: gone on with, or thrown away, never taken for whole."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError

from regraft.adapters.datasets import ArrayFile, ArrayFolder
from regraft.adapters.unfinished import SavePointFolder, write_blocks
from regraft.images.blocks import ArrayBlocks

ARRAY = np.arange(70, dtype=np.float32).reshape(10, 7)


class Computing:
    """Blocks of `ARRAY`, of four rows, and which of them were computed."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.starts: list[int] = []
        self.fails_at = fails_at

    @property
    def blocks(self) -> ArrayBlocks:
        return ArrayBlocks(ARRAY.shape, "float32", 4, self.compute)

    def compute(self, start: int, stop: int) -> np.ndarray:
        if start == self.fails_at:
            raise KeyboardInterrupt
        self.starts.append(start)
        return ARRAY[start:stop]


def interrupted(path: Path, *, at: int, circumstances: str | None) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_blocks(path, Computing(fails_at=at).blocks, task="", circumstances=circumstances)
    assert not path.exists()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(("at", "computed"), [(0, [0, 4, 8]), (4, [4, 8]), (8, [8])])
def test_blocks_that_are_there_are_not_computed_again(tmp_path: Path, at: int, computed: list[int]) -> None:
    path, whole = tmp_path / "array.npy", tmp_path / "whole" / "array.npy"
    interrupted(path, at=at, circumstances="same")
    computing = Computing()
    write_blocks(path, computing.blocks, task="", circumstances="same")
    assert computing.starts == computed
    write_blocks(whole, Computing().blocks, task="", circumstances=None)
    assert path.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == ["array.npy", "whole"]


def test_a_torn_end_is_computed_again(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    interrupted(path, at=8, circumstances="same")
    with (tmp_path / ".array.npy.unfinished").open("ab") as file:
        file.write(b"half a row")
    write_blocks(path, Computing().blocks, task="", circumstances="same")
    assert np.array_equal(np.load(path), ARRAY)


@pytest.mark.parametrize("second", ["other", None])
def test_blocks_of_other_circumstances_are_thrown_away(tmp_path: Path, second: str | None) -> None:
    path = tmp_path / "array.npy"
    interrupted(path, at=8, circumstances="same")
    computing = Computing()
    write_blocks(path, computing.blocks, task="", circumstances=second)
    assert computing.starts == [0, 4, 8]
    assert names(tmp_path) == ["array.npy"]


def test_without_circumstances_nothing_is_left(tmp_path: Path) -> None:
    interrupted(tmp_path / "array.npy", at=8, circumstances=None)
    assert names(tmp_path) == []


def test_a_record_without_its_data_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    interrupted(path, at=8, circumstances="same")
    (tmp_path / ".array.npy.unfinished").unlink()
    write_blocks(path, Computing().blocks, task="", circumstances="same")
    assert np.array_equal(np.load(path), ARRAY)


def test_an_array_file_goes_on_only_where_it_was_told_the_circumstances(tmp_path: Path) -> None:
    dataset, computing = ArrayFile(filepath=str(tmp_path / "array.npy")), Computing()
    dataset.begin("now")
    with pytest.raises((DatasetError, KeyboardInterrupt)):
        dataset.save(Computing(fails_at=8).blocks)
    again = ArrayFile(filepath=str(tmp_path / "array.npy"))
    again.begin("now")
    again.save(computing.blocks)
    assert computing.starts == [8]
    again.finish()
    assert names(tmp_path) == ["array.npy"]


def test_a_cache_goes_on_by_its_key(tmp_path: Path) -> None:
    folder, computing = ArrayFolder(folder=str(tmp_path), max_bytes=1e9), Computing()
    with pytest.raises(KeyboardInterrupt):
        folder.get_or_compute("key", Computing(fails_at=8).blocks)
    assert np.array_equal(folder.get_or_compute("key", computing.blocks), ARRAY)
    assert computing.starts == [8]


def test_save_points_are_kept_for_the_same_circumstances_alone(tmp_path: Path) -> None:
    first = SavePointFolder(folder=str(tmp_path), save_every_s=10)
    first.begin("one")
    assert first.read("training") is None
    first.write("training", b"weights")
    for circumstances, expected in (("one", b"weights"), ("two", None)):
        again = SavePointFolder(folder=str(tmp_path), save_every_s=10)
        again.begin(circumstances)
        assert again.read("training") == expected
    again.write("training", b"others")
    again.begin(None)
    assert names(tmp_path) == []


def test_save_points_are_gone_when_the_work_has_ended(tmp_path: Path) -> None:
    save_points = SavePointFolder(folder=str(tmp_path), save_every_s=10)
    save_points.begin("one")
    save_points.write("training", b"weights")
    save_points.finish()
    assert names(tmp_path) == []


def test_a_save_point_is_due_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("regraft.adapters.unfinished.time.monotonic", lambda: now)
    save_points = SavePointFolder(folder=str(tmp_path), save_every_s=10)
    save_points.begin("one")
    assert not save_points.is_due()
    now += 10
    assert save_points.is_due()
    save_points.write("training", b"")
    assert not save_points.is_due()


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[int], None]:
    """Writes the array in a process that is killed while it computes a block."""

    def run(at: int) -> None:
        script = f"""
            import os, signal
            from pathlib import Path
            import numpy as np
            from regraft.adapters.unfinished import write_blocks
            from regraft.images.blocks import ArrayBlocks

            def compute(start, stop):
                if start == {at}:
                    os.kill(os.getpid(), signal.SIGKILL)
                return np.arange(70, dtype=np.float32).reshape(10, 7)[start:stop]

            write_blocks(Path("array.npy"), ArrayBlocks((10, 7), "float32", 4, compute), task="", circumstances="same")
        """
        result = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, env=dict(os.environ), check=False
        )
        assert result.returncode == -signal.SIGKILL

    return run


def test_a_killed_process_leaves_whole_blocks(tmp_path: Path, killed: Callable[[int], None]) -> None:
    killed(8)
    assert names(tmp_path) == [".array.npy.unfinished", ".array.npy.unfinished.json"]
    computing = Computing()
    write_blocks(tmp_path / "array.npy", computing.blocks, task="", circumstances="same")
    assert computing.starts == [8]
    assert np.array_equal(np.load(tmp_path / "array.npy"), ARRAY)
