"""Opening every image once, and reporting what was found."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from dirty_files import dirty_files, write_files
from PIL import Image

from regraft.images import reading
from regraft.images.index import index_images
from regraft.images.manifest import ManifestError
from regraft.images.sources import FolderSource, list_images
from regraft.save_points import InMemory


@pytest.fixture
def listing(project: Path, save_image: Callable[..., Path]) -> pd.DataFrame:
    """Two cats, two dogs, of which one is a copy of a cat in another format and mode."""
    save_image("pets/cats/1.png", 1, mode="L")
    save_image("pets/cats/2.png", 2, size=(5, 7))
    save_image("pets/dogs/10.bmp", 10)
    save_image("pets/dogs/9.png", 1, mode="L")
    with Image.open("pets/dogs/9.png") as image:
        image.convert("RGB").save("pets/dogs/9.tiff")
    Path("pets/dogs/9.png").unlink()
    return list_images(FolderSource(path=Path("pets")))


def index(listing: pd.DataFrame, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    settings = {"max_unreadable_fraction": 0.0, "exclude": (), "on_progress": lambda done, total: None}
    return index_images(listing, **{**settings, **changes})[:2]


def test_rows_are_numbered_by_path_and_say_what_the_files_hold(listing: pd.DataFrame) -> None:
    image_index, _ = index(listing.iloc[::-1])
    assert image_index["id"].tolist() == [0, 1, 2, 3]
    assert image_index["path"].tolist() == [
        "pets/cats/1.png",
        "pets/cats/2.png",
        "pets/dogs/10.bmp",
        "pets/dogs/9.tiff",
    ]
    assert image_index.columns.tolist() == [
        "id", "path", "label", "group", "split", "sha256", "pixel_sha256",
        "width", "height", "mode", "format", "file_bytes", "read_as", "camera", "taken_at",
    ]  # fmt: skip
    second = image_index.iloc[1]
    data = Path("pets/cats/2.png").read_bytes()
    assert (second["width"], second["height"], second["mode"], second["format"]) == (5, 7, "RGB", "PNG")
    assert second["sha256"] == hashlib.sha256(data).hexdigest()
    assert second["file_bytes"] == len(data)
    with Image.open("pets/cats/2.png") as image:
        assert second["pixel_sha256"] == hashlib.sha256(b"5x7:" + image.tobytes()).hexdigest()


def test_copies_are_found_across_formats_and_two_labels_are_told(listing: pd.DataFrame) -> None:
    _, report = index(listing)
    (same,) = report["duplicates"]
    assert same["paths"] == ["pets/cats/1.png", "pets/dogs/9.tiff"]
    assert same["labels"] == ["cats", "dogs"]
    assert report["duplicates_with_two_labels"] == [same]


def test_copies_of_which_something_else_is_true_are_told_target_by_target(listing: pd.DataFrame) -> None:
    ages = {"pets/cats/1.png": 30.0, "pets/dogs/9.tiff": 60.0}
    several = listing.assign(label="cats", target_age=listing["path"].map(ages).fillna(1.0), target_sex="f")
    _, report = index(several)
    (same,) = report["duplicates_with_two_labels"]
    assert same["labels"] == ["30.0, f", "60.0, f"]
    _, report = index(several.assign(target_age=30.0))
    assert len(report["duplicates"]) == 1
    assert report["duplicates_with_two_labels"] == []


def test_equal_bytes_of_other_shapes_are_no_copies(project: Path) -> None:
    Path("x/a").mkdir(parents=True)
    Image.new("RGB", (2, 3)).save("x/a/1.png")
    Image.new("RGB", (3, 2)).save("x/a/2.png")
    assert index(list_images(FolderSource(path=Path("x"))))[1]["duplicates"] == []


def test_unreadable_images_are_left_out_by_name_and_reason(listing: pd.DataFrame) -> None:
    Path("pets/cats/2.png").write_bytes(b"not an image")
    Path("pets/cats/1.png").write_bytes(b"")
    image_index, report = index(listing, max_unreadable_fraction=0.5)
    assert image_index["id"].tolist() == [0, 1]
    assert report["num_listed"] == 4
    assert report["num_images"] == report["num_unreadable"] == 2
    assert report["unreadable"][0] == {"path": "pets/cats/1.png", "reason": "empty file"}
    assert report["unreadable"][1]["reason"].startswith("no image of a known format")
    with pytest.raises(
        ManifestError, match=r"2 of 4 images cannot be read \(pets/cats/1.png: empty file, .*0.49 of"
    ):
        index(listing, max_unreadable_fraction=0.49)


def test_a_listing_without_one_readable_image_is_refused_at_any_fraction(project: Path) -> None:
    Path("x/a").mkdir(parents=True)
    Path("x/a/1.png").touch()
    with pytest.raises(ManifestError, match="1 of 1 images cannot be read"):
        index(list_images(FolderSource(path=Path("x"))), max_unreadable_fraction=1.0)


def test_excluded_files_are_not_opened_and_a_mistyped_one_is_told(listing: pd.DataFrame) -> None:
    Path("pets/cats/2.png").write_bytes(b"not an image")
    image_index, report = index(listing, exclude=("cats/2.png", "*.bmp"))
    assert report["excluded"] == ["pets/cats/2.png", "pets/dogs/10.bmp"]
    assert len(image_index) == report["num_images"] == 2
    with pytest.raises(ManifestError, match=r"fits no listed file: cats/3.png. Did you mean .*'cats/2.png'"):
        index(listing, exclude=("cats/3.png",))
    with pytest.raises(ManifestError, match="no image is left"):
        index(listing, exclude=("*",))


def test_an_excluded_name_may_hold_the_letters_of_wildcards(
    project: Path, save_image: Callable[..., Path]
) -> None:
    for seed, name in enumerate(["1[2].png", "12.png", "3.png"]):
        save_image(f"x/a/{name}", seed)
    _, report = index(list_images(FolderSource(path=Path("x"))), exclude=("1[2].png",))
    assert report["excluded"] == ["x/a/1[2].png"]


def test_index_and_report_are_the_same_bytes_again_and_elsewhere(
    listing: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_text() -> tuple[str, str]:
        image_index, report = index(list_images(FolderSource(path=Path("pets"))))
        return image_index.to_csv(), json.dumps(report)

    here = as_text()
    elsewhere = tmp_path_factory.mktemp("other_checkout")
    (elsewhere / "pets").symlink_to(Path("pets").absolute())
    monkeypatch.chdir(elsewhere)
    assert as_text() == here == as_text()


def test_upright_sizes_animations_and_groups_are_reported(project: Path) -> None:
    Path("x/a").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (4, 2)).save("x/a/1.jpg", exif=exif)
    Image.new("RGB", (4, 4), "red").save("x/a/2.gif", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    listing = list_images(FolderSource(path=Path("x"))).assign(group=["g", None])
    image_index, report = index(listing)
    assert image_index.loc[0, ["width", "height"]].tolist() == [2, 4]
    assert image_index["read_as"].tolist() == [
        "turned upright from orientation 6; one colour (0, 0, 0)",
        "first frame of 2; one colour (255, 0, 0)",
    ]
    assert report["read_as"] == {
        "one colour": {"number": 2, "examples": ["x/a/1.jpg: (0, 0, 0)", "x/a/2.gif: (255, 0, 0)"]},
        "turned upright": {"number": 1, "examples": ["x/a/1.jpg: from orientation 6"]},
        "first frame": {"number": 1, "examples": ["x/a/2.gif: of 2"]},
    }
    assert report["groups"] == {"num_groups": 1, "num_images_without_group": 1, "smallest": 1, "largest": 1}
    assert report["num_images_by_format"] == {"GIF": 1, "JPEG": 1}


def test_progress_counts_every_image_in_order(listing: pd.DataFrame) -> None:
    calls: list[tuple[int, int]] = []
    index(listing, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_interrupt_stops_the_reading(listing: pd.DataFrame) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(listing, on_progress=interrupt)


def test_a_path_listed_twice_is_refused(listing: pd.DataFrame) -> None:
    with pytest.raises(ManifestError, match=r"1 files are listed more than once: pets/cats/1.png"):
        index(pd.concat([listing, listing.iloc[:1]]))


def test_every_dirty_file_is_in_the_index_or_in_the_report_with_its_reason(project: Path) -> None:
    write_files(project / "x")
    files = {f"x/{file.name}": file for file in dirty_files()}
    image_index, report = index(list_images(FolderSource(path=Path("x"))), max_unreadable_fraction=1.0)
    assert {row["path"]: row["reason"] for row in report["unreadable"]} == {
        path: file.reason for path, file in files.items() if file.reason
    }
    recorded = dict(zip(image_index["path"], image_index["read_as"], strict=True))
    wrong_suffix = recorded.pop("x/PNG/named.jpg")
    assert wrong_suffix == "wrong extension .jpg of PNG"
    assert recorded == {
        path: "; ".join(file.ways) for path, file in files.items() if not file.reason and path in recorded
    }


def test_a_hostile_folder_is_indexed_with_every_finding(
    project: Path, save_image: Callable[..., Path]
) -> None:
    names = [
        "with space.png",
        "line\nbreak.png",
        "Ä.png",
        "A\u0308.png",
        "A.jpg",
        "a.jpg",
        "x" * 251 + ".png",
        "-rf",
    ]
    Path("x/a").mkdir(parents=True)
    for seed, name in enumerate(names):
        save_image("one.png", seed).rename(Path("x/a") / name)
    save_image("outside/b/1.png", 99)
    Path("x/b").symlink_to(Path("outside/b").absolute())
    Path("x/a/link.png").symlink_to(Path("outside/b/1.png").absolute())
    Path("x/a/nowhere.png").symlink_to("nothing")
    Path("x/a/loop.png").symlink_to("loop.png")
    os.mkfifo("x/a/pipe.png")
    Path("x/a/.DS_Store").touch()
    Path("x/readme.txt").touch()
    source = FolderSource(path=Path("x"))
    image_index, report = index(
        list_images(source), max_unreadable_fraction=0.9, skipped=source.list_skipped()
    )
    assert {Path(path).name for path in image_index["path"]} == {*names, "1.png", "link.png"}
    assert {row["path"]: row["reason"] for row in report["unreadable"]} == {
        "x/a/loop.png": "too many levels of symbolic links",
        "x/a/nowhere.png": "a link that leads nowhere",
        "x/a/pipe.png": "not a regular file",
    }
    assert report["links_out"]["link out of the folder"]["number"] == 2
    assert report["names_alike"] == [["x/a/A.jpg", "x/a/a.jpg"], ["x/a/A\u0308.png", "x/a/Ä.png"]]
    assert report["skipped"] == {
        "beside the class folders": {"number": 1, "examples": ["x/readme.txt"]},
        "hidden": {"number": 1, "examples": ["x/a/.DS_Store"]},
    }


def test_labels_that_look_alike_are_told(listing: pd.DataFrame) -> None:
    _, report = index(listing.assign(label=["cats", "Cats", "dogs", "dogs"]))
    assert report["labels_alike"] == [["Cats", "cats"]]


def test_no_more_than_a_few_images_are_read_ahead(
    listing: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million futures at once would take gigabytes."""
    executor_type = reading.ThreadPoolExecutor
    waiting = 0

    class Counting(executor_type):  # type: ignore[misc, valid-type]
        def submit(self, *args: Any) -> Any:
            nonlocal waiting
            waiting += 1
            return super().submit(*args)

    monkeypatch.setattr(reading, "ThreadPoolExecutor", Counting)
    monkeypatch.setattr(reading, "count_cores", lambda: 1)
    monkeypatch.setattr(reading, "_WAITING_PER_CORE", 2)
    ahead = []
    index(listing, on_progress=lambda done, total: ahead.append(waiting - done))
    assert ahead == [1, 1, 1, 0]


class AlwaysDue(InMemory):
    """A save point wherever one can be."""

    def is_due(self) -> bool:
        return True


def test_what_was_read_before_a_kill_is_not_read_again(
    project: Path, save_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_BLOCK_PATHS", 3)
    for number in range(8):
        save_image(f"many/cats/{number}.png", number)
    Path("many/cats/1.png").write_bytes(b"no image")
    listing = list_images(FolderSource(path=Path("many")))
    settings: dict[str, Any] = {"max_unreadable_fraction": 0.5}
    whole = index(listing, **settings)
    save_points = AlwaysDue()

    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(listing, **settings, on_progress=interrupt, save_points=save_points)
    assert list(save_points.kept) == ["images-0"]
    for number in range(3):
        Path(f"many/cats/{number}.png").unlink()
    image_index, report = index(listing, **settings, save_points=save_points)
    pd.testing.assert_frame_equal(image_index, whole[0])
    assert report == whole[1]
