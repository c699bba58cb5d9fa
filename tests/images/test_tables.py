"""Listing images from a CSV."""

import sys
from pathlib import Path

import pytest

from regraft.images.faults import SourceError
from regraft.images.sources import CsvSource, list_images


@pytest.fixture(autouse=True)
def _in_project(project: Path) -> None:
    """`data` holds `a.png` to `d.png`; the CSV lies beside them."""
    Path("data").mkdir()
    for name in "abcd":
        Path(f"data/{name}.png").touch()


def source(text: str, **columns: str) -> CsvSource:
    Path("data/list.csv").write_text(text)
    return CsvSource(path=Path("data/list.csv"), **columns)


def message(text: str, **columns: str) -> str:
    with pytest.raises(SourceError) as caught:
        list_images(source(text, **columns))
    return str(caught.value)


def test_rows_come_by_path_with_group_and_split() -> None:
    text = "path,label,patient,part\nb.png,NA,p1,train\n\na.png, sick ,,test\n"
    listing = list_images(source(text, group_column="patient", split_column="part"))
    assert listing["path"].tolist() == ["data/a.png", "data/b.png"]
    assert listing["label"].tolist() == ["sick", "NA"], "NA is a label, not a missing value"
    assert listing["split"].tolist() == ["test", "train"]
    assert listing["group"].isna().tolist() == [True, False]


def test_numbers_stay_the_text_that_they_are() -> None:
    listing = list_images(source("path,label,who\na.png,01,7\nb.png,1,7.0\n", group_column="who"))
    assert listing["label"].tolist() == ["01", "1"]
    assert listing["group"].tolist() == ["7", "7.0"]


def test_a_byte_order_mark_quotes_and_another_folder_are_understood() -> None:
    Path("list.csv").write_bytes(b'\xef\xbb\xbfpath,label\r\n"a.png","x, y"\r\n')
    listing = list_images(CsvSource(path=Path("list.csv"), images=Path("data")))
    assert listing.loc[0, ["path", "label"]].tolist() == ["data/a.png", "x, y"]


def test_missing_columns_are_all_named_with_near_names() -> None:
    said = message("file_path,labels,patient\na.png,x,1\n", group_column="patients")
    assert "no column 'path' (ingest.source.path_column). Did you mean 'file_path'?" in said
    assert "no column 'label' (ingest.source.label_column). Did you mean 'labels'?" in said
    assert "no column 'patients' (ingest.source.group_column). Did you mean 'patient'?" in said
    assert "the columns are: 'file_path', 'labels', 'patient'" in said


def test_a_wrong_separator_an_empty_file_and_a_doubled_column_are_told() -> None:
    assert "Is the separator a comma?" in message("path;label\na.png;x\n")
    assert "the file is empty" in message("")
    assert "2 columns 'label'" in message("path,label,label\na.png,x,y\n")
    assert "a header line and no row" in message("path,label\n")


def test_files_that_are_not_there_are_counted_and_the_first_shown() -> None:
    rows = "".join(f"gone{number}.png,x\n" for number in range(7))
    said = message(f"path,label\na.png,x\n{rows}")
    assert "7 of 8 listed files are not there: data/gone0.png, " in said
    assert "data/gone4.png and 2 more. Paths are relative to 'data'" in said
    assert "Paths are written with '/'" in message("path,label\nsub\\a.png,x\n")


def test_two_labels_for_one_file_are_found_however_the_path_is_written() -> None:
    said = message("path,label\na.png,x\nx/../a.png,y\nb.png,x\nb.png,x\n")
    assert "1 files have two labels: data/a.png (x, y)" in said
    assert "1 files are listed more than once: data/b.png" in said


def test_unknown_splits_and_incomplete_lines_are_told_together() -> None:
    text = "path,label,split\na.png,x,trian\nb.png,x,trian\nc.png,,train\nd.png,x\n"
    said = message(text, split_column="split")
    assert "unknown splits 'trian' (2 times); allowed are train, val, test. Did you mean 'train'?" in said
    assert "1 lines have no path or no label: line 4" in said
    assert "1 lines have not 3 values as the header: line 5" in said


@pytest.mark.skipif(sys.platform == "darwin", reason="to macOS both names are one file")
def test_a_name_composed_otherwise_than_the_file_is_told() -> None:
    Path("data/cafe\u0301.png").touch()
    said = message("path,label\ncaf\u00e9.png,a\nno.png,b\n")
    assert "2 of 2 listed files are not there" in said
    assert "Of 1 there is a file whose letters are composed otherwise" in said
    assert "composed otherwise" not in message("path,label\nno.png,b\n")


def test_a_missing_csv_a_missing_folder_and_a_binary_file_are_told() -> None:
    source("path,label\n")
    with pytest.raises(SourceError, match=r"'data/lits.csv' \(ingest.source.path\) is not there.*'list.csv'"):
        list_images(CsvSource(path=Path("data/lits.csv")))
    with pytest.raises(SourceError, match=r"the folder 'dota' \(ingest.source.images\) is not there.*'data'"):
        list_images(CsvSource(path=Path("data/list.csv"), images=Path("dota")))
    Path("data/list.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(SourceError, match="not a CSV in UTF-8"):
        list_images(CsvSource(path=Path("data/list.csv")))
