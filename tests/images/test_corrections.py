from pathlib import Path

import pandas as pd
import pytest

from regraft.images.corrections import apply_corrections
from regraft.images.faults import ManifestError, SourceError


@pytest.fixture
def listing() -> pd.DataFrame:
    rows = [(f"mine/{label}/{number}.png", label) for label in ("cat", "dog") for number in range(4)]
    table = pd.DataFrame(rows, columns=["path", "label"]).astype("str")
    return table.assign(group=pd.Series(dtype="str"), split=pd.Series(dtype="str"))


def write(folder: Path, text: str) -> Path:
    path = folder / "corrections.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_labels_are_put_right_confirmed_and_left_out(listing: pd.DataFrame, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "rank,path,given_label,label,reason\n"
        "1,mine/cat/0.png,cat,dog,a dog\n"
        "2,cat/1.png,cat,cat,\n"
        "3,mine/dog/2.png,dog,exclude,blurred\n"
        "4,mine/dog/3.png,dog,,\n"
        "5,nowhere.png,dog,,\n",  # not decided: not looked for
    )
    before = listing.copy()
    found, report = apply_corrections(listing, path)
    pd.testing.assert_frame_equal(listing, before)
    assert len(found) == 7
    rows = found.set_index("path")
    assert rows.loc["mine/cat/0.png", ["label", "source_label", "reviewed_label", "reason"]].tolist() == [
        "dog", "cat", "dog", "a dog",
    ]  # fmt: skip
    assert rows.loc["mine/cat/1.png", ["label", "reviewed_label"]].tolist() == ["cat", "cat"]
    assert "mine/dog/2.png" not in rows.index
    assert rows["reviewed_label"].notna().sum() == 2
    assert rows.loc["mine/dog/3.png", "label"] == "dog"
    assert (report["num_changed"], report["num_confirmed"], report["num_left_out"]) == (1, 1, 1)
    assert report["left_out"] == [
        {"path": "mine/dog/2.png", "given_label": "dog", "label": "exclude", "reason": "blurred"}
    ]


def test_whoever_has_looked_is_certain(listing: pd.DataFrame, tmp_path: Path) -> None:
    soft = listing.assign(soft_cat=0.75, soft_dog=0.25)
    found, _ = apply_corrections(soft, write(tmp_path, "path,label\ncat/0.png,dog\n"))
    rows = found.set_index("path")[["soft_cat", "soft_dog"]]
    assert rows.loc["mine/cat/0.png"].tolist() == [0.0, 1.0]
    assert rows.loc["mine/cat/1.png"].tolist() == [0.75, 0.25]


def test_every_fault_is_told_at_once(listing: pd.DataFrame, tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "path,label,given_label\n"
        "mine/cat/9.png,dog,cat\n"  # no such image
        "0.png,dog,\n"  # two of them
        "mine/cat/1.png,dgo,cat\n"  # no such label
        "mine/cat/2.png,dog,\n"
        "cat/2.png,cat,\n"  # the same image, another label
        "mine/dog/0.png,cat,cat\n"  # it is a dog by now
        "mine/dog/1.png,cat\n",  # too short
    )
    with pytest.raises(ManifestError) as raised:
        apply_corrections(listing, path)
    text = str(raised.value)
    assert text.startswith(f"{path.as_posix()} (ingest.corrections): 6 faults:")
    for part in (
        "1 paths are not among the images: mine/cat/9.png. Did you mean",
        "1 paths fit several images, write more of them: 0.png",
        "labels dgo are none of the source's (cat, dog) nor 'exclude'. Did you mean 'dog'?",
        "1 images are given different labels: mine/cat/2.png (cat, dog)",
        "since 1 corrections were made: mine/dog/0.png (corrected when it was 'cat', now 'dog')",
        "1 lines have not as many values as the header: line 8",
    ):
        assert part in text


def test_a_class_named_exclude_is_a_class(tmp_path: Path) -> None:
    listing = pd.DataFrame({"path": ["a.png", "b.png"], "label": ["exclude", "keep"]}).astype("str")
    found, report = apply_corrections(listing, write(tmp_path, "path,label\nb.png,exclude\n"))
    assert found["label"].tolist() == ["exclude", "exclude"]
    assert report["num_left_out"] == 0


def test_a_label_of_the_source_that_no_image_has_is_known(listing: pd.DataFrame, tmp_path: Path) -> None:
    path = write(tmp_path, "path,label\ncat/0.png,fox\n")
    with pytest.raises(ManifestError, match="labels fox"):
        apply_corrections(listing, path)
    found, _ = apply_corrections(listing, path, label_order=("cat", "dog", "fox"))
    assert "fox" in found["label"].tolist()


def test_a_table_without_the_columns_and_one_that_is_not_there_say_so(
    listing: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="has no column label; the columns are: path, truth"):
        apply_corrections(listing, write(tmp_path, "path,truth\nx,y\n"))
    with pytest.raises(SourceError, match=r"ingest\.corrections"):
        apply_corrections(listing, tmp_path / "none.csv")
