from pathlib import Path

import pytest

from regraft.images.faults import SourceError
from regraft.images.unlabelled import list_unlabelled


def test_a_folder_gives_all_files_below_it_by_name(tmp_path: Path) -> None:
    for name in ("b.png", "deep/er/a.jpg", ".hidden", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_unlabelled(tmp_path, path_column="path") == [
        (tmp_path / name).as_posix() for name in ("b.png", "deep/er/a.jpg")
    ]


def test_a_csv_gives_paths_relative_to_itself_in_its_order(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,what\nz.png,1\nsub/../a.png,2\n")
    listed = list_unlabelled(tmp_path / "list.csv", path_column="file")
    assert listed == [(tmp_path / name).as_posix() for name in ("z.png", "a.png")]
    with pytest.raises(SourceError, match=r"no column 'fil' .* it has file, what. Did you mean 'file'"):
        list_unlabelled(tmp_path / "list.csv", path_column="fil")


def test_nothing_to_predict_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file in"):
        list_unlabelled(tmp_path, path_column="path")
    with pytest.raises(SourceError, match="is not there"):
        list_unlabelled(tmp_path / "none", path_column="path")
