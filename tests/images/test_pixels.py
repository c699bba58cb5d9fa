"""Images as one array, the same whatever the threads and blocks, and only as they were indexed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.images.decoding import decode_rgb
from regraft.images.index import index_images
from regraft.images.manifest import ManifestError
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing, apply, as_rgb
from regraft.images.sources import FolderSource, list_images

CROP = Preprocessing(
    size=8, resize_size=9, fit="crop", interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


@pytest.fixture
def manifest(project: Path, save_image: Callable[..., Path]) -> pd.DataFrame:
    """Seven images of different sizes and modes."""
    for seed in range(7):
        save_image(
            f"pets/cats/{seed}.png", seed, size=(10 + seed, 20 - seed), mode="L" if seed % 2 else "RGB"
        )
    listing = list_images(FolderSource(path=Path("pets")))
    return index_images(
        listing, max_unreadable_fraction=0.0, exclude=(), on_progress=lambda done, total: None
    )[0]


def test_rows_are_the_manifests_and_do_not_depend_on_threads_or_blocks(manifest: pd.DataFrame) -> None:
    reversed_manifest = manifest.iloc[::-1]
    expected = np.stack([apply(CROP, decode_rgb(path)) for path in reversed_manifest["path"]])
    for num_workers, block_rows in ((1, 7), (4, 2), (3, 100)):
        blocks = normalize_images(reversed_manifest, CROP, num_workers=num_workers, block_rows=block_rows)
        assert blocks.shape == (7, 8, 8, 3)
        assert blocks.dtype == "uint8"
        assert np.array_equal(np.concatenate(list(blocks)), expected)


def test_grey_images_alone_take_one_band(manifest: pd.DataFrame) -> None:
    grey = manifest[manifest["mode"] == "L"]
    assert 0 < len(grey) < len(manifest)
    blocks = normalize_images(grey, CROP, num_workers=2, block_rows=2)
    assert blocks.shape == (len(grey), 8, 8, 1)
    expected = np.stack([apply(CROP, decode_rgb(path)) for path in grey["path"]])
    assert np.array_equal(as_rgb(np.concatenate(list(blocks))), expected)


def test_nothing_is_read_before_a_block_is_asked_for(manifest: pd.DataFrame) -> None:
    blocks = normalize_images(manifest, CROP, num_workers=1, block_rows=3)
    Path("pets/cats/6.png").unlink()
    assert blocks.compute(0, 6).shape == (6, 8, 8, 3)
    with pytest.raises(ManifestError, match=r"1 images .* pets/cats/6.png: not there"):
        blocks.compute(6, 7)


def test_every_file_that_changed_since_it_was_indexed_is_named(
    manifest: pd.DataFrame, save_image: Callable[..., Path]
) -> None:
    save_image("pets/cats/1.png", 99)
    save_image("pets/cats/5.png", 99)
    with pytest.raises(ManifestError) as caught:
        list(normalize_images(manifest, CROP, num_workers=2, block_rows=100))
    assert "pets/cats/1.png: differs from the index, pets/cats/5.png: differs from the index" in str(
        caught.value
    )
    assert "Run ingest again" in str(caught.value)


def test_an_image_that_cannot_be_fitted_is_named(project: Path) -> None:
    Path("pets/cats").mkdir(parents=True)
    Image.new("L", (20_000, 1)).save("pets/cats/line.png")
    listing = list_images(FolderSource(path=Path("pets")))
    index, _, _ = index_images(
        listing, max_unreadable_fraction=0.0, exclude=(), on_progress=lambda done, total: None
    )
    wide = CROP.model_copy(update={"size": 224, "resize_size": 256})
    with pytest.raises(ManifestError, match=r"line.png: 20000×1 is too long and narrow to crop"):
        list(normalize_images(index, wide, num_workers=1, block_rows=1))


def test_no_workers_are_refused(manifest: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="num_workers must be at least 1, got 0"):
        normalize_images(manifest, CROP, num_workers=0, block_rows=1)
