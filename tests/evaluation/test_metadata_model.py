"""What a file says of its label without its pixels."""

import numpy as np
import pandas as pd
import pytest

from regraft.evaluation.metadata_model import describe_files, metadata_answers, metadata_predictions


def make_manifest(num_images: int = 200, **columns: object) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, num_images)
    names = np.array(["cat", "dog"])[labels]
    return pd.DataFrame(
        {
            "path": [f"x/{name}/{generator.integers(10**9)}.jpg" for name in names],
            "label": labels,
            "label_name": names,
            "split": ["train"] * (num_images // 2) + ["test"] * (num_images - num_images // 2),
            "width": 300, "height": 200, "file_bytes": 5000, "mode": "RGB", "format": "JPEG",
        }
    ).assign(**columns)  # fmt: skip


def accuracy(manifest: pd.DataFrame) -> float:
    predicted = metadata_predictions(manifest, split="test")
    return float((predicted == manifest.loc[manifest["split"] == "test", "label"]).mean())


@pytest.mark.parametrize(
    "column",
    [
        ("format", ["PNG", "JPEG"]),
        ("width", [300, 301]),
        ("file_bytes", [4000, 9000]),
        ("mode", ["L", "RGB"]),
    ],
)
def test_classes_that_differ_in_a_fact_of_the_file_are_told(column: tuple[str, list[object]]) -> None:
    name, values = column
    manifest = make_manifest()
    assert accuracy(manifest.assign(**{name: [values[label] for label in manifest["label"]]})) == 1


def test_folders_and_words_that_are_the_label_tell_nothing() -> None:
    manifest = make_manifest()
    named = manifest["path"].str.replace(r"(\w+)/(\d+)", r"\1/\1-\2", regex=True)
    assert named.iloc[0].count(manifest["label_name"].iloc[0]) == 2
    assert accuracy(manifest.assign(path=named)) < 0.65


def test_the_place_in_the_listing_counts_numbers_by_their_value() -> None:
    manifest = make_manifest(12).assign(path=[f"x/img{number}.png" for number in range(12)], label_name="")
    assert np.argsort(describe_files(manifest)[:, 0]).tolist() == list(range(12))
    series = make_manifest().assign(path=[f"x/{number}.png" for number in range(200)], label_name="")
    halves = np.arange(200) // 25 % 2
    mixed = series.assign(label=halves, split=np.where(np.arange(200) % 2, "train", "test"))
    assert accuracy(mixed) > 0.9


def test_answers_are_the_same_again_and_one_class_is_no_trouble() -> None:
    manifest = make_manifest()
    one, two = (metadata_predictions(manifest, split="test") for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert set(metadata_predictions(manifest.assign(label=1), split="test")) == {1}
    with pytest.raises(ValueError, match="no image in the split 'train'"):
        metadata_predictions(manifest.assign(split="test"), split="test")


def test_words_that_are_told_are_taken_out_of_the_names_whole() -> None:
    names = ["025_a9", "25_a9", "125_a9", "_a_Old9", "_a9"]
    manifest = make_manifest(5).assign(path=[f"x/{name}.png" for name in names])
    ranks = describe_files(manifest, [["25"], ["25"], ["25"], ["OLD"], ["none"]])[:, 0]
    assert ranks[0] == ranks[1] == ranks[4]
    assert len({ranks[0], ranks[2], ranks[3]}) == 3


def test_numbers_are_told_by_a_regressor() -> None:
    manifest = make_manifest()
    values = manifest["label"].to_numpy() * 10.0
    facts = describe_files(manifest.assign(width=300 + manifest["label"]))
    said = metadata_answers(manifest, facts, values, split="test")
    assert said.dtype == np.float64
    np.testing.assert_allclose(said, values[100:], atol=0.5)
    both = metadata_answers(manifest, facts, np.stack([values, -values], axis=1), split="test")
    np.testing.assert_allclose(both[:, 1], -said)
    np.testing.assert_array_equal(metadata_answers(manifest, facts, np.ones(200), split="test"), np.ones(100))
