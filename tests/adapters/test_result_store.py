"""Results kept by key and by the code they follow from."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from regraft.adapters import result_store
from regraft.adapters.result_store import ResultFolder, TriedModels
from regraft.comparing.tried import Tried


def test_results_are_kept_by_key(tmp_path: Path) -> None:
    store = ResultFolder(folder=str(tmp_path / "results"), rooms=["heads"]).load()
    assert store.read("probe-1") is None
    store.write("probe-1", b"first")
    store.write("probe-2", b"second")
    store.write("probe-1", b"again")
    anew = ResultFolder(folder=str(tmp_path / "results"), rooms=["heads"])
    assert (anew.read("probe-1"), anew.read("probe-2")) == (b"again", b"second")


def test_what_other_code_found_is_not_read_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "results"
    ResultFolder(folder=str(folder), rooms=["heads"]).write("probe-1", b"old")
    monkeypatch.setattr(result_store, "_hash_rooms", lambda rooms: "0" * 16)
    store = ResultFolder(folder=str(folder), rooms=["heads"])
    assert store.read("probe-1") is None
    assert len(list(folder.iterdir())) == 1, "a reader removes nothing"
    store.write("probe-1", b"new")
    assert [path.read_bytes() for path in folder.rglob("probe-*")] == [b"new"]


def test_a_room_that_is_not_there_is_named(tmp_path: Path) -> None:
    store = ResultFolder(folder=str(tmp_path), rooms=["haeds"])
    with pytest.raises(ValueError, match="regraft has no 'haeds'"):
        store.read("probe-1")


def test_a_store_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not by a node's output"):
        ResultFolder(folder=str(tmp_path), rooms=["heads"]).save(b"")


def test_tried_models_are_a_file(tmp_path: Path) -> None:
    dataset = TriedModels(filepath=str(tmp_path / "tried.npz"))
    assert not dataset.exists()
    dataset.save([Tried("one", "probe", {}, {"seconds": 1.5})])
    assert dataset.exists()
    assert dataset.load() == [Tried("one", "probe", {}, {"seconds": 1.5})]
