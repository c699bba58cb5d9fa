"""From an index to a manifest: splits, numbered labels, and classes that cannot be learnt."""

from typing import Any

import pandas as pd
import pytest

from regraft.images.manifest import ManifestError, build_manifest
from regraft.images.splits import SplitOptions

RANDOM = SplitOptions(kind="random", val_fraction=0.2, test_fraction=0.2, seed=0)


def make_index(**num_images: int) -> pd.DataFrame:
    labels = [label for label, count in num_images.items() for _ in range(count)]
    return pd.DataFrame(
        {
            "id": range(len(labels)),
            "path": [f"{label}/{row}.png" for row, label in enumerate(labels)],
            "label": labels,
            "group": pd.Series([None] * len(labels), dtype="str"),
            "split": pd.Series([None] * len(labels), dtype="str"),
            "pixel_sha256": [f"{row:064x}" for row in range(len(labels))],
            "weight": 1.5,
        }
    )


def build(index: pd.DataFrame, **changes: Any) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    return build_manifest(index, changes.pop("options", RANDOM), **{"min_images_per_class": 5, **changes})


def test_labels_are_numbered_by_name_and_the_index_stays_as_it_was() -> None:
    index = make_index(dog=10, cat=10)
    before = index.copy()
    manifest, label_names = build(index)
    assert label_names == {"label": ["cat", "dog"]}
    assert manifest["label"].dtype == "int64"
    assert manifest["label"].tolist() == [1] * 10 + [0] * 10
    assert manifest["label_name"].tolist() == index["label"].tolist()
    assert manifest.columns.tolist() == [
        "id", "path", "label", "label_name", "group", "split", "pixel_sha256", "weight",
    ]  # fmt: skip
    assert manifest["split"].value_counts().to_dict() == {"train": 12, "val": 4, "test": 4}
    pd.testing.assert_frame_equal(index, before)


def test_a_source_may_give_the_order_of_its_labels() -> None:
    manifest, label_names = build(
        make_index(defective=6, functional=6), label_order=("functional", "defective")
    )
    assert label_names == {"label": ["functional", "defective"]}
    assert manifest.loc[0, ["label", "label_name"]].tolist() == [1, "defective"]


def test_all_classes_that_are_too_small_are_named() -> None:
    with pytest.raises(
        ManifestError, match=r"2 classes have fewer than 5 readable images: 'cat' \(4\), 'emu' \(1\)"
    ):
        build(make_index(dog=10, cat=4, emu=1))


def test_a_class_of_the_source_without_any_image_is_too_small() -> None:
    with pytest.raises(ManifestError, match=r"'functional' \(0\)"):
        build(make_index(defective=20), label_order=("functional", "defective"))


def test_classes_missing_in_a_split_are_told_beside_those_too_small() -> None:
    index = make_index(dog=10, cat=10, emu=1)
    index["split"] = ["train"] * 9 + ["val"] + ["train", "val"] * 5 + ["test"]
    options = RANDOM.model_copy(update={"kind": "given"})
    with pytest.raises(ManifestError) as caught:
        build(index, options=options)
    assert "'emu' (1)" in str(caught.value)
    assert "2 classes are missing in a split: 'cat' (none in test), 'dog' (none in test)" in str(caught.value)


def test_one_class_unknown_labels_and_missing_labels_are_refused() -> None:
    with pytest.raises(ManifestError, match="at least two classes, got 1: cat"):
        build(make_index(cat=10))
    with pytest.raises(ManifestError, match="labels emu are not among the source's: cat, dog"):
        build(make_index(cat=10, emu=5), label_order=("cat", "dog"))
    index = make_index(cat=10, dog=5)
    index.loc[3, "label"] = None
    with pytest.raises(ManifestError, match=r"1 images have no label: cat/3.png"):
        build(index)
