"""Opening every image once, and reporting what was found."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from regraft.images.index import index_images
from regraft.images.manifest import ManifestError
from regraft.images.sources import FolderSource, list_images


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
    return index_images(listing, **{**settings, **changes})


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
        "width", "height", "mode", "format", "file_bytes",
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
    assert report["first_frame_only"] == ["x/a/2.gif"]
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
