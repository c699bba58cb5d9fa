"""Every image in one split, related images on one side, classes in their proportions."""

import random
import time
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from regraft.images.faults import ManifestError
from regraft.images.splits import SPLITS, SplitOptions, assign_splits

LETTERS = "abc"


def options(kind: str, **changes: Any) -> SplitOptions:
    return SplitOptions(**{"kind": kind, "val_fraction": 0.1, "test_fraction": 0.25, "seed": 0, **changes})


def make_index(
    labels: list[str], groups: list[str | None] | None = None, pixels: list[int] | None = None
) -> pd.DataFrame:
    num_images = len(labels)
    return pd.DataFrame(
        {
            "path": [f"images/{row:05d}.png" for row in range(num_images)],
            "label": labels,
            "group": pd.Series(groups or [None] * num_images, dtype="str"),
            "split": pd.Series([None] * num_images, dtype="str"),
            "pixel_sha256": [f"{number:064x}" for number in (pixels or range(num_images))],
        }
    )


@st.composite
def indexes(draw: st.DrawFn, *, duplicates: bool, groups: bool) -> pd.DataFrame:
    num_images = draw(st.integers(3, 80))
    lists = {"min_size": num_images, "max_size": num_images}
    labels = draw(st.lists(st.sampled_from(LETTERS), **lists))
    pixels = draw(st.lists(st.integers(0, num_images), **lists)) if duplicates else None
    names = st.sampled_from([None, *(f"g{number}" for number in range(num_images // 3 + 1))])
    members = (
        [*draw(st.lists(names, min_size=num_images - 1, max_size=num_images - 1)), "g0"] if groups else None
    )
    return make_index(labels, members, pixels)


@settings(deadline=None)
@given(indexes(duplicates=True, groups=True), st.sampled_from(["random", "grouped"]), st.integers(0, 5))
def test_every_image_has_one_split_and_relatives_share_it(index: pd.DataFrame, kind: str, seed: int) -> None:
    splits = assign_splits(index, options(kind, seed=seed))
    assert splits.index.equals(index.index)
    assert set(splits) <= set(SPLITS)
    assert splits.groupby(index["pixel_sha256"]).nunique().max() == 1
    if kind == "grouped":
        assert splits.groupby(index["group"]).nunique().max() == 1


@settings(deadline=None)
@given(indexes(duplicates=False, groups=False), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_random_is_within_one_image_of_its_fractions_in_every_class(
    index: pd.DataFrame, val_fraction: float, test_fraction: float
) -> None:
    splits = assign_splits(index, options("random", val_fraction=val_fraction, test_fraction=test_fraction))
    for _, of_class in splits.groupby(index["label"]):
        assert abs((of_class == "val").sum() - val_fraction * len(of_class)) < 1 + 1e-6
        assert abs((of_class == "test").sum() - test_fraction * len(of_class)) < 1 + 1e-6
        assert len(of_class) < 3 or set(of_class) == set(SPLITS)


@settings(deadline=None)
@given(indexes(duplicates=True, groups=True), st.sampled_from(["random", "grouped"]), st.randoms())
def test_splits_depend_on_neither_row_order_nor_paths(
    index: pd.DataFrame, kind: str, shuffler: random.Random
) -> None:
    order = list(index.index)
    shuffler.shuffle(order)
    shuffled = index.loc[order]
    splits = assign_splits(index, options(kind))
    # Copies may carry different labels and groups, so a set of them is compared, not a row.
    again = assign_splits(shuffled.assign(path="elsewhere"), options(kind)).loc[index.index]
    assert splits.groupby(index["pixel_sha256"]).first().equals(again.groupby(index["pixel_sha256"]).first())


def test_relatives_of_relatives_stay_together() -> None:
    labels = ["a", "b"] * 10
    groups = ["g1", "g1", "g2", "g2", *(f"h{row}" for row in range(16))]
    pixels = [0, 1, 1, 3, *range(4, 20)]  # a copy links the groups g1 and g2
    for seed in range(20):
        splits = assign_splits(make_index(labels, groups, pixels), options("grouped", seed=seed))
        assert splits[:4].nunique() == 1


def test_groups_read_back_as_numbers_still_hold_together() -> None:
    index = make_index(["a", "b"] * 30).assign(group=[float(row // 6) for row in range(60)])
    assert assign_splits(index, options("grouped")).groupby(index["group"]).nunique().max() == 1


def test_another_seed_is_another_split_of_the_same_sizes() -> None:
    index = make_index(["a"] * 60 + ["b"] * 40)
    one, two = (assign_splits(index, options("random", seed=seed)) for seed in (1, 2))
    assert not one.equals(two)
    assert (
        one.value_counts().to_dict() == two.value_counts().to_dict() == {"train": 65, "test": 25, "val": 10}
    )


def test_random_splits_are_even_over_images() -> None:
    index = make_index(["a"] * 30 + ["b"] * 30)
    tested = sum(
        (assign_splits(index, options("random", seed=seed)) == "test").astype(int) for seed in range(400)
    )
    # Each image is tested 400 · 0.25 ± 8.7 times (binomial); 5 standard deviations allow for the 60 of them.
    assert tested.between(100 - 44, 100 + 44).all()
    assert tested.mean() == pytest.approx(100, abs=4)


def test_most_images_keep_their_split_when_another_comes() -> None:
    index = make_index(["a", "b"] * 500)
    before = assign_splits(index.iloc[:-1], options("random"))
    after = assign_splits(index, options("random"))
    assert (before == after.iloc[:-1]).mean() > 0.99


def test_a_hundred_thousand_images_take_seconds() -> None:
    index = make_index(["a", "b", "c", "d"] * 25_000, [f"g{row // 3}" for row in range(100_000)])
    start = time.perf_counter()
    splits = assign_splits(index, options("grouped"))
    assert time.perf_counter() - start < 30
    shares = pd.crosstab(index["label"], splits, normalize="index")
    assert shares["test"].between(0.245, 0.255).all()
    assert shares["val"].between(0.095, 0.105).all()


def test_grouped_without_any_group_is_random() -> None:
    index = make_index(["a", "b", "b"] * 20)
    assert assign_splits(index, options("grouped")).equals(assign_splits(index, options("random")))


def test_given_without_splits_is_refused() -> None:
    index = make_index(["a", "b"] * 5)
    with pytest.raises(ManifestError, match="'given', but the source gives no split"):
        assign_splits(index, options("given"))


def test_given_splits_are_taken_as_they_are() -> None:
    words = ["train", "val", "test", "train"]
    assert (
        assign_splits(make_index(["a", "b", "a", "b"]).assign(split=words), options("given")).tolist()
        == words
    )


def test_given_splits_that_tear_copies_or_groups_apart_are_refused_with_their_names() -> None:
    index = make_index(["a"] * 4, ["g", "g", None, None], [0, 1, 2, 2]).assign(
        split=["train", "test", "val", "train"]
    )
    with pytest.raises(ManifestError) as caught:
        assign_splits(index, options("given"))
    assert (
        "copies of one image on two sides (1 times): images/00003.png (train) = images/00002.png (val)"
        in str(caught.value)
    )
    assert (
        "members of one group on two sides (1 times): images/00001.png (test) = images/00000.png (train)"
        in str(caught.value)
    )


def test_unknown_and_missing_given_splits_are_counted() -> None:
    index = make_index(["a"] * 4).assign(split=["train", "Test", None, "dev"])
    with pytest.raises(
        ManifestError, match=r"'' \(1 times\), 'Test' \(1 times\), 'dev' \(1 times\).*mean 'test'"
    ):
        assign_splits(index, options("given"))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "stratified"},
        {"val_fraction": 0.0},
        {"test_fraction": 1.0},
        {"val_fraction": 0.5, "test_fraction": 0.5},
        {"seed": -1},
        {"shuffle": True},
    ],
)
def test_impossible_options_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        options(**{"kind": "random", **change})
