"""Sources as options, and their listings."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from regraft.images.faults import SourceError
from regraft.images.sources import (
    CsvSource,
    ElpvSource,
    FolderSource,
    ImageSource,
    demo_files,
    label_order,
    list_images,
)

any_source: TypeAdapter[ImageSource] = TypeAdapter(ImageSource)


def test_a_kind_chooses_the_source_and_unknown_keys_are_refused() -> None:
    assert any_source.validate_python({"kind": "elpv"}) == ElpvSource()
    assert any_source.validate_python({"kind": "folder", "path": "x"}) == FolderSource(path=Path("x"))
    assert any_source.validate_python({"kind": "csv", "path": "x.csv"}) == CsvSource(path=Path("x.csv"))
    for fault in (
        {"kind": "zip", "path": "x"},
        {"kind": "folder"},
        {"kind": "folder", "path": "x", "seed": 1},
    ):
        with pytest.raises(ValidationError):
            any_source.validate_python(fault)


def test_options_load_neither_pandas_nor_torch() -> None:
    names = "regraft.images.sources, regraft.images.splits, regraft.images.preprocessing"
    code = f"import sys, {names}; print({{'pandas', 'torch', 'torchvision'}} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"


def test_a_listing_is_in_byte_order_and_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = []
    for checkout, names in (
        ("one", ["Z/é.png", "a/10.png", "a/2.png", "a/2/3.png", "a/2-1.png"]),
        ("two", ["a/2-1.png", "a/2/3.png", "a/2.png", "Z/é.png", "a/10.png"]),
    ):
        for name in names:
            path = tmp_path / checkout / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        monkeypatch.chdir(tmp_path / checkout)
        listings.append(list_images(FolderSource(path=Path("images"))))
    expected = ["Z/é.png", "a/10.png", "a/2-1.png", "a/2.png", "a/2/3.png"]
    assert listings[0]["path"].tolist() == [f"images/{name}" for name in expected]
    assert listings[0].columns.tolist() == ["path", "label", "group", "split"]
    assert listings[0].to_csv() == listings[1].to_csv()
    assert listings[0]["group"].isna().all()


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names itself")
def test_file_names_that_are_not_utf8_are_refused_by_name(project: Path) -> None:
    Path("images/cats").mkdir(parents=True)
    Path(os.fsdecode(b"images/cats/\xff.png")).touch()
    with pytest.raises(SourceError, match=r"not in UTF-8 .* rename them: .*udcff\.png"):
        list_images(FolderSource(path=Path("images")))


def test_a_carriage_return_in_a_name_is_refused_for_it_would_break_tables(project: Path) -> None:
    Path("images/cats").mkdir(parents=True)
    Path("images/cats/a\rb.png").touch()
    with pytest.raises(SourceError, match=r"with a carriage return, rename them: 'images/cats/a\\rb\.png'"):
        list_images(FolderSource(path=Path("images")))


def test_only_the_demonstration_has_files_to_bring() -> None:
    assert demo_files(FolderSource(path=Path("x"))) == {}
    assert demo_files(CsvSource(path=Path("x.csv"))) == {}
    files = demo_files(ElpvSource())
    assert len(files) == 2625
    assert files["images/cell0001.png"].is_file()


def test_the_demonstration_is_listed_from_where_it_was_copied_to(project: Path) -> None:
    source = ElpvSource()
    with pytest.raises(
        SourceError, match=r"data/01_raw/elpv/labels.csv is not there; `kedro run --pipeline ingest`"
    ):
        list_images(source)
    for name, path in demo_files(source).items():
        target = source.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path) if path.suffix == ".png" else shutil.copy(path, target)
    listing = list_images(source)
    assert len(listing) == 2624
    assert listing["label"].value_counts().to_dict() == {"functional": 1803, "defective": 821}
    assert listing["group"].nunique() == 44
    assert listing.columns.tolist()[-4:-2] == ["cell_type", "soft_functional"]
    assert listing["soft_defective"].equals(listing["defect_probability"])
    assert (listing["soft_functional"] + listing["soft_defective"] == 1).all()
    assert listing.loc[0, "path"] == "data/01_raw/elpv/images/cell0001.png"
    assert label_order(source) == ("functional", "defective")
    strict = list_images(ElpvSource(defect_threshold=1.0))
    assert (strict["label"] == "defective").sum() == 715

    (source.path / "images/cell0002.png").unlink()
    with pytest.raises(SourceError, match=r"1 files named in .* are not there: images/cell0002.png"):
        list_images(source)
