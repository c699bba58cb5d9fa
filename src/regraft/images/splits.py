"""Splits: which image is trained on, validated on and tested on.

Knows no file and no pixel: related images are told from the index's `pixel_sha256`, `copy_group` and `group`
columns.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from regraft.images.faults import ManifestError, join_faults, show_first, suggest_near
from regraft.images.leaks import describe_leaks, find_leaks

if TYPE_CHECKING:  # as in sources: the options alone do not need it
    import pandas as pd

SPLITS: Final = ("train", "val", "test")

_Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class SplitOptions(BaseModel):
    """How images are split.

    Attributes:
        kind: `random` (stratified by label), `grouped` (whole groups on one side, stratified as well as that
            allows; an image without a group is one of its own, so without any it is `random`) or `given`
            (from the source's split column; the other fields are not read).
        val_fraction: Of all images.
        test_fraction: Of all images.
        seed: Another seed, another split.
        on_leak: What to do where a `given` split puts related images on two sides.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["random", "grouped", "given"]
    val_fraction: _Fraction
    test_fraction: _Fraction
    seed: int = Field(ge=0)
    on_leak: Literal["stop", "report"] = "stop"

    @model_validator(mode="after")
    def _check_images_are_left_to_train(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                f"val_fraction {self.val_fraction} and test_fraction {self.test_fraction} leave nothing to "
                "train on: their sum must be below 1"
            )
        return self


def assign_splits(image_index: "pd.DataFrame", options: SplitOptions) -> "pd.Series[str]":
    """Put every image into exactly one split; copies, exact or near, always into the same one.

    The order in which images are dealt out is the order of a hash of the seed and their pixels. So it depends
    neither on paths nor on row order, and with `random` most images keep their split when others come or go.

    Args:
        image_index: Columns `label` and `pixel_sha256`, and `copy_group` where near copies were looked for;
            for `grouped` `group`, for `given` `split` (and `group` where there is one). A missing group means
            that the image is related to no other.
        options: The kind, the fractions and the seed.

    Returns:
        `train`, `val` or `test` with the index of `image_index`. With `random` and no duplicates, `val` and
        `test` are within one image of their fraction in every class, and hold one image of every class of
        three or more.

    Raises:
        ManifestError: If given splits are asked for and there are none, some are unknown, or they put copies
            or members of a group on two sides.
    """
    import pandas as pd

    from regraft.images.allotment import deal_units

    if options.kind == "given":
        return _take_given(image_index, on_leak=options.on_leak)
    units = number_units(image_index, options.kind)
    digests = image_index["pixel_sha256"]
    order_keys = [hashlib.sha256(f"{options.seed}:{digest}".encode()).hexdigest() for digest in digests]
    labels = pd.factorize(image_index["label"], sort=True)[0]
    train_fraction = 1.0 - options.val_fraction - options.test_fraction
    fractions = (train_fraction, options.val_fraction, options.test_fraction)
    split_numbers = deal_units(units, order_keys, labels, fractions)
    words = [SPLITS[number] for number in split_numbers]
    return pd.Series(words, image_index.index, dtype="str", name="split")


def number_units(image_index: "pd.DataFrame", kind: Literal["random", "grouped"]) -> list[int]:
    """The unit of each image, a row's number: what is never parted. Copies for `random`, groups too for `grouped`."""
    import pandas as pd

    ties = ["pixel_sha256", *(["copy_group"] if "copy_group" in image_index else [])]
    if kind == "grouped":
        ties.append("group")
    return _connect([[None if pd.isna(value) else value for value in image_index[column]] for column in ties])


def find_unknown_splits(words: Sequence[str | None]) -> list[str]:
    """Faults for words that are no split, each with how often it stands and what may have been meant."""
    unknown = Counter(word if isinstance(word, str) else "" for word in words)
    for split in SPLITS:
        del unknown[split]
    if not unknown:
        return []
    listed = [f"{word!r} ({count} times)" for word, count in sorted(unknown.items())]
    near = "".join(suggest_near(word.lower(), SPLITS) for word in sorted(unknown))
    return [f"unknown splits {show_first(listed)}; allowed are {', '.join(SPLITS)}.{near}"]


def _take_given(image_index: "pd.DataFrame", *, on_leak: Literal["stop", "report"]) -> "pd.Series[str]":
    """The split column, if every word is known and nothing related lies on two sides."""
    if image_index["split"].isna().all():
        raise ManifestError(
            "ingest.split.kind is 'given', but the source gives no split: set it to 'random' or 'grouped', "
            "or name the CSV's split_column in ingest.source"
        )
    if faults := find_unknown_splits(image_index["split"].tolist()):
        raise ManifestError(join_faults(faults))
    if on_leak == "stop" and (faults := describe_leaks(find_leaks(image_index))):
        raise ManifestError(
            join_faults([f"{fault}." for fault in faults])
            + " All of them are in the ingest report. Correct the split column, list the surplus files under "
            "ingest.exclude, set ingest.split.kind to 'grouped', or go on all the same with "
            "ingest.split.on_leak: report."
        )
    return image_index["split"].astype("str").rename("split")


def _connect(columns: Sequence[Sequence[object]]) -> list[int]:
    """Number the units: rows that share a value in some column, directly or through others; None is none."""
    parents = list(range(len(columns[0])))

    def find_root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    for column in columns:
        first_row: dict[object, int] = {}
        for row, value in enumerate(column):
            if value is not None:
                roots = sorted((find_root(row), find_root(first_row.setdefault(value, row))))
                parents[roots[1]] = roots[0]
    return [find_root(row) for row in range(len(parents))]
