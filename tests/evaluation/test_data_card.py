"""The data card of a small collection, counted by hand."""

import json

import numpy as np
import pandas as pd
import pytest

from regraft.evaluation import data_card
from regraft.evaluation.contact_sheet import contact_sheet
from regraft.evaluation.data_card import describe_data
from regraft.evaluation.figure_style import png_bytes


def build_manifest(num_images: int = 120) -> tuple[pd.DataFrame, np.ndarray]:
    """Two classes of 110 and 10; the last 20 images are test, wider and brighter; each 5 are a group."""
    row = np.arange(num_images)
    is_test = row >= 100
    manifest = pd.DataFrame(
        {
            "label_name": np.where(row % 12 == 0, "rare", "common"),
            "split": np.where(is_test, "test", np.where(row >= 80, "val", "train")),
            "group": pd.array([f"g{number // 5}" for number in row], dtype="str"),
            "sha256": [f"{(number * 7919) % 1009:04d}" for number in row],
            "pixel_sha256": [f"{number - (number == 1)}" for number in row],
            "width": np.where(is_test, 400, 300) + row % 3,
            "height": 300,
            "mode": "RGB",
            "format": np.where(is_test, "PNG", "JPEG"),
            "file_bytes": 1000 + row,
        }
    )
    pixels = np.random.default_rng(0).integers(0, 100, (num_images, 8, 8, 3), np.uint8)
    pixels[is_test] += 100
    return manifest, pixels


def test_counts_sizes_groups_and_copies_are_those_of_the_collection() -> None:
    manifest, pixels = build_manifest()
    card = describe_data(manifest, ["rare", "common"], pixels, seed=0)
    assert list(card["num_images"]) == ["rare", "common"]
    assert card["num_images"]["rare"] == {"train": 7, "val": 2, "test": 1, "all": 10}
    assert card["imbalance"] == 11
    assert card["sizes"]["width"] == {"smallest": 300, "median": 301, "largest": 402}
    assert card["sizes"]["brightness"]["largest"] == pytest.approx(pixels[100:].mean((1, 2, 3)).max() / 255)
    assert card["formats"] == {
        "JPEG": {"train": 80, "val": 20, "test": 0, "all": 100},
        "PNG": {"train": 0, "val": 0, "test": 20, "all": 20},
    }
    assert card["groups"]["val"] == {"num_groups": 4, "largest": 5, "num_images_without": 0}
    assert card["copies"]["train"] == {"num_images": 80, "num_repeated": 1}
    assert card == json.loads(json.dumps(card))


def test_grey_pixels_in_one_band_and_in_three_are_told_and_shown_alike() -> None:
    manifest, pixels = build_manifest()
    grey = pixels[..., :1]
    rgb = np.repeat(grey, 3, axis=3)
    one, three = (describe_data(manifest, ["rare", "common"], each, seed=0) for each in (grey, rgb))
    for name in ("brightness", "contrast"):
        assert one["sizes"][name] == pytest.approx(three["sizes"][name])
    assert png_bytes(contact_sheet(manifest, ["rare", "common"], grey)) == png_bytes(
        contact_sheet(manifest, ["rare", "common"], rgb)
    )


def test_uneven_classes_and_drift_are_told_in_sentences() -> None:
    manifest, pixels = build_manifest()
    notes = describe_data(manifest, ["rare", "common"], pixels, seed=0)["notes"]
    assert notes[0].startswith("The classes are uneven: common has 110 images, rare 10.")
    assert any(note.startswith("test differs from train in brightness") for note in notes)
    assert any(note.startswith("test differs from train in format") for note in notes)
    assert not any("height" in note or "mode" in note for note in notes)


def test_units_are_groups_unless_one_is_torn() -> None:
    manifest, pixels = build_manifest()
    assert describe_data(manifest, ["rare", "common"], pixels, seed=0)["drift_unit"] == "group"
    torn = manifest.assign(group=["one"] * 120)
    assert describe_data(torn, ["rare", "common"], pixels, seed=0)["drift_unit"] == "image"


def test_of_many_images_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_card, "_NUM_SAMPLED", 30)
    manifest, pixels = build_manifest()
    card = describe_data(manifest, ["rare", "common"], pixels, seed=0)
    assert card["num_sampled"] == 30
    assert card["num_images"]["common"]["all"] == 110


def test_the_contact_sheet_shows_train_alone_and_is_the_same_bytes_again() -> None:
    manifest, pixels = build_manifest()
    before = png_bytes(contact_sheet(manifest, ["rare", "common"], pixels))
    assert png_bytes(contact_sheet(manifest, ["rare", "common"], pixels)) == before
    hidden = pixels.copy()
    hidden[manifest["split"] != "train"] = 0
    assert png_bytes(contact_sheet(manifest, ["rare", "common"], hidden)) == before
    shown = pixels.copy()
    shown[manifest["split"] == "train"] = 0
    assert png_bytes(contact_sheet(manifest, ["rare", "common"], shown)) != before
