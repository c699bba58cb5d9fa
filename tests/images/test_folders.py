"""Listing a folder of class folders."""

import errno
import os
from pathlib import Path

import pytest

from regraft.images.faults import SourceError
from regraft.images.folders import list_class_folders, list_skipped


@pytest.fixture(autouse=True)
def _in_project(project: Path) -> None:
    """Every folder here is relative to an empty project."""


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()


def test_nested_files_belong_to_their_class_folder() -> None:
    touch("pets/cats/1.jpg", "pets/dogs/young/2.jpg", "pets/dogs/3.jpg")
    assert sorted(list_class_folders(Path("pets"))) == [
        ("pets/cats/1.jpg", "cats"),
        ("pets/dogs/3.jpg", "dogs"),
        ("pets/dogs/young/2.jpg", "dogs"),
    ]


def test_hidden_files_are_no_images_but_odd_suffixes_are_left_to_the_decoder() -> None:
    touch("pets/cats/.DS_Store", "pets/cats/Thumbs.db", "pets/cats/1", "pets/.dvc/x.png", "pets/README.txt")
    touch("pets/cats/notes.txt")
    assert list_class_folders(Path("pets")) == [("pets/cats/1", "cats"), ("pets/cats/notes.txt", "cats")]


def test_links_are_followed_but_not_in_a_circle() -> None:
    touch("store/cats/1.jpg", "pets/dogs/2.jpg")
    Path("pets/cats").symlink_to(Path("store/cats").absolute())
    Path("pets/dogs/again").symlink_to(Path("pets/dogs").absolute())
    Path("pets/dogs/broken.jpg").symlink_to("nowhere.jpg")
    assert [path for path, _ in list_class_folders(Path("pets"))] == [
        "pets/cats/1.jpg",
        "pets/dogs/2.jpg",
        "pets/dogs/broken.jpg",
    ]


def test_a_folder_of_many_names_is_listed_once_by_its_own() -> None:
    """Each level links to the next twice: by all ways there would be 2^30 files."""
    for level in range(30):
        touch(f"pets/cats/{level}/{level}.jpg")
        for name in ("a", "b"):
            Path(f"pets/cats/{level}/{name}").symlink_to(f"../{level + 1}")
    touch("pets/cats/30/30.jpg")
    assert sorted(list_class_folders(Path("pets"))) == sorted(
        (f"pets/cats/{level}/{level}.jpg", "cats") for level in range(31)
    )
    again = [why for _, why in list_skipped(Path("pets"))]
    assert again == ["a folder that was read by another name"] * 60


def test_what_is_not_looked_at_is_listed_with_the_reason() -> None:
    touch("pets/cats/1.jpg", "pets/cats/.1.jpg", "pets/cats/Thumbs.db", "pets/.git/config", "pets/README.md")
    assert list_skipped(Path("pets")) == [
        ("pets/.git", "hidden"),
        ("pets/README.md", "beside the class folders"),
        ("pets/cats/.1.jpg", "hidden"),
        ("pets/cats/Thumbs.db", "left by a file manager"),
    ]


def test_folders_that_may_not_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a scan that is refused: the tests may run as root, who may read everything."""
    touch("pets/cats/1.jpg", "pets/cats/closed/2.jpg")
    scan = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        SourceError, match=r"1 folders may not be read: pets/cats/closed \(permission denied\)"
    ):
        list_class_folders(Path("pets"))


def test_a_link_in_a_circle_and_a_pipe_are_listed_for_the_decoder_to_refuse() -> None:
    touch("pets/cats/1.jpg")
    Path("pets/cats/loop.jpg").symlink_to("loop.jpg")
    os.mkfifo("pets/cats/pipe.jpg")
    assert [Path(path).name for path, _ in list_class_folders(Path("pets"))] == [
        "1.jpg",
        "loop.jpg",
        "pipe.jpg",
    ]


def test_a_missing_folder_is_said_with_near_names_and_where_it_was_looked_for() -> None:
    touch("my_images/cats/1.jpg")
    with pytest.raises(
        SourceError, match=r"'my_image' \(ingest.source.path\) is not there.*Did you mean 'my_images'"
    ):
        list_class_folders(Path("my_image"))
    with pytest.raises(SourceError, match=r"is a file$"):
        list_class_folders(Path("my_images/cats/1.jpg"))


def test_an_empty_folder_and_one_without_class_folders_are_refused() -> None:
    Path("nothing").mkdir()
    with pytest.raises(SourceError, match="'nothing' is empty"):
        list_class_folders(Path("nothing"))
    touch("flat/a.jpg", "flat/b.PNG", "flat/labels.csv")
    with pytest.raises(
        SourceError, match=r"has 2 images \(a.jpg, b.PNG\) directly in it.*one folder a class"
    ):
        list_class_folders(Path("flat"))


def test_images_beside_class_folders_and_empty_class_folders_are_told_together() -> None:
    touch("pets/cats/1.jpg", "pets/stray.jpg")
    Path("pets/dogs").mkdir()
    Path("pets/birds/young").mkdir(parents=True)
    with pytest.raises(SourceError) as caught:
        list_class_folders(Path("pets"))
    assert "1 images without a class, directly in 'pets': stray.jpg" in str(caught.value)
    assert "2 empty class folders in 'pets': birds, dogs" in str(caught.value)


def test_folders_named_like_splits_are_not_taken_for_classes() -> None:
    touch("bees/train/bees/1.jpg", "bees/val/ants/2.jpg")
    with pytest.raises(SourceError, match=r"named like splits \(train, val\)"):
        list_class_folders(Path("bees"))
