"""Sources over shards give what they give over the folder that was packed."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.images.decoding import decode_rgb
from regraft.images.faults import ManifestError, SourceError
from regraft.images.index import index_images
from regraft.images.manifest import build_manifest
from regraft.images.packing import pack_folder
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing
from regraft.images.shards import packed_files
from regraft.images.sources import CsvSource, FolderSource, list_images
from regraft.images.splits import SplitOptions

SMALL = Preprocessing(
    size=8, resize_size=9, fit="crop", interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


@pytest.fixture(autouse=True)
def _images(project: Path, save_image: Callable[..., Path]) -> None:
    """Forty pets of two classes, a copy, a text and a broken image, in `pets` and packed in `shards`."""
    for number in range(40):
        label = ("cats", "dogs/young")[number % 2]
        save_image(f"pets/{label}/{number}.png", number, size=(10 + number % 5, 9))
    save_image("pets/cats/copy.bmp", 0, size=(10, 9))
    Path("pets/cats/broken.png").write_bytes(Path("pets/cats/2.png").read_bytes()[:60])
    Path("pets/cats/notes.txt").write_text("no image")
    Path("pets/README.txt").write_text("beside the class folders")
    pack("pets", "shards")


def pack(folder: str, into: str) -> None:
    Path(into).mkdir()
    pack_folder(Path(folder), Path(into), shard_bytes=5000, on_progress=lambda *_: None)


def ingest(
    source: FolderSource | CsvSource, kind: str = "random"
) -> tuple[pd.DataFrame, Any, dict[str, Any]]:
    image_index, report, _ = index_images(
        list_images(source),
        skipped=source.list_skipped(),
        max_unreadable_fraction=0.1,
        exclude=(),
        on_progress=lambda *_: None,
    )
    options = SplitOptions(kind=kind, val_fraction=0.2, test_fraction=0.2, seed=0)
    manifest, label_names = build_manifest(image_index, options, min_images_per_class=3)
    return manifest, label_names, report


def renamed(value: Any) -> Any:
    """What was found in the folder, as if it had been found in the shards."""
    if isinstance(value, dict):
        return {key: renamed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one) for one in value]
    return (
        f"shards/{value.removeprefix('pets/')}"
        if isinstance(value, str) and value.startswith("pets/")
        else value
    )


def assert_same(plain: tuple[pd.DataFrame, Any, Any], packed: tuple[pd.DataFrame, Any, Any]) -> None:
    expected = plain[0].assign(path=[renamed(path) for path in plain[0]["path"]])
    pd.testing.assert_frame_equal(packed[0], expected)
    assert list(packed[1:]) == renamed(list(plain[1:]))


def test_manifest_labels_and_report_are_those_of_the_folder() -> None:
    assert len(list(Path("shards").glob("*.tar"))) > 1
    plain, packed = ingest(FolderSource(path=Path("pets"))), ingest(FolderSource(path=Path("shards")))
    assert_same(plain, packed)
    assert {fault["path"] for fault in packed[2]["unreadable"]} == {
        "shards/cats/broken.png",
        "shards/cats/notes.txt",
    }
    assert len(packed[2]["duplicates"]) == 1


def test_a_table_keeps_its_labels_and_groups() -> None:
    with Path("pets.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "owner"])
        for number in range(40):
            folder = ("cats", "dogs/young")[number % 2]
            writer.writerow([f"{folder}/{number}.png", f"kind {number % 2}", f"owner {number // 4}"])
    plain, packed = (
        ingest(CsvSource(path=Path("pets.csv"), images=Path(folder), group_column="owner"), "grouped")
        for folder in ("pets", "shards")
    )
    assert_same(plain, packed)
    assert packed[0]["group"].nunique() == 10


def test_a_table_that_names_files_which_no_shard_holds_is_refused() -> None:
    Path("pets.csv").write_text("path,label\ncats/0.png,cat\ncats/000.png,cat\n")
    with pytest.raises(SourceError, match=r"1 of 2 listed files are not there: shards/cats/000\.png"):
        list_images(CsvSource(path=Path("pets.csv"), images=Path("shards")))


def test_pixels_and_prediction_read_the_same_from_shards() -> None:
    plain, packed = (ingest(FolderSource(path=Path(folder)))[0] for folder in ("pets", "shards"))
    pixels = [
        np.concatenate(list(normalize_images(manifest, SMALL, num_workers=3, block_rows=16)))
        for manifest in (plain, packed)
    ]
    assert np.array_equal(*pixels)
    assert decode_rgb(Path("shards/cats/0.png")).tobytes() == decode_rgb("pets/cats/0.png").tobytes()


def test_images_in_a_damaged_shard_are_named_with_it() -> None:
    where = packed_files(Path("shards"))["cats/10.png"]
    shard = Path("shards") / where.shard
    data = bytearray(shard.read_bytes())
    data[where.offset + 20] ^= 255
    shard.write_bytes(data)
    settings = {"exclude": ("notes.txt", "broken.png"), "on_progress": lambda *_: None}
    listing = list_images(FolderSource(path=Path("shards")))
    with pytest.raises(ManifestError, match=rf"shards/cats/10.png: {where.shard} is damaged at byte"):
        index_images(listing, max_unreadable_fraction=0.0, **settings)
    image_index, report, _ = index_images(listing, max_unreadable_fraction=0.05, **settings)
    assert [fault["path"] for fault in report["unreadable"]] == ["shards/cats/10.png"]
    assert len(image_index) == 40


def test_shards_beside_unpacked_folders_are_refused(save_image: Callable[..., Path]) -> None:
    save_image("shards/birds/1.png")
    with pytest.raises(SourceError, match="holds shards and also folders: birds"):
        list_images(FolderSource(path=Path("shards")))


def test_shards_without_their_index_are_no_folder_of_classes() -> None:
    Path("shards/shards.csv").unlink()
    with pytest.raises(SourceError, match=r"shards\.csv is not there"):
        list_images(FolderSource(path=Path("shards")))


def test_faults_of_a_folder_are_told_of_its_shards_too() -> None:
    Path("flat").mkdir()
    Path("flat/1.png").write_bytes(b"x")
    pack("flat", "flat-shards")
    with pytest.raises(SourceError, match=r"'flat-shards' has 1 images \(1\.png\) directly in it"):
        list_images(FolderSource(path=Path("flat-shards")))
