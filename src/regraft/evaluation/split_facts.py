"""Facts of a split beside its scores: what a resample draws, how many images a class has, what to beware of.

Knows the manifest as a table, and names: no metric, no model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.intervals import Bootstrap, unit_numbers
from regraft.evaluation.predictions import SPLITS, group_names

Groups = tuple[str | None, ...]
_FEW_GROUPS = 10  # under this the cluster bootstrap is known to give too narrow intervals


def groups_to_resample(groups: Groups, manifest: pd.DataFrame, split: str) -> Groups | None:
    """The groups of a split's images if there are two or more and no other split has any of them, else None: images."""
    elsewhere = set(group_names(manifest.loc[manifest["split"] != split, "group"])) - {None}
    named = set(groups) - {None}
    is_held_out = bool(named) and not named & elsewhere
    return groups if is_held_out and len(set(unit_numbers(len(groups), groups))) > 1 else None


def describe_resampling(
    bootstrap: Bootstrap, num_images: Mapping[str, int], groups: Mapping[str, Groups | None]
) -> dict[str, Any]:
    """`num_resamples`, `confidence`, `seed`; and by split the `unit` that is drawn and `num_units` of it.

    Args:
        bootstrap: How resamples are drawn.
        num_images: By split.
        groups: By split what `groups_to_resample` gave.
    """
    return {
        "num_resamples": bootstrap.num_resamples,
        "confidence": bootstrap.confidence,
        "seed": bootstrap.seed,
        **{split: _unit(num_images[split], groups[split]) for split in SPLITS},
    }


def count_images(manifest: pd.DataFrame) -> dict[str, int]:
    """Images by split."""
    return {split: int((manifest["split"] == split).sum()) for split in ("train", *SPLITS)}


def count_classes(manifest: pd.DataFrame, label_names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Images by split and name of the label, in the order of the names."""
    return {split: _class_counts(manifest, split, label_names) for split in ("train", *SPLITS)}


def note_few_groups(resampling: Mapping[str, Any]) -> list[str]:
    """A sentence if the test images come from too few groups; `resampling` as `describe_resampling` gives it."""
    test = resampling["test"]
    if test["unit"] == "image" or test["num_units"] >= _FEW_GROUPS:
        return []
    return [
        f"The test images come from {test['num_units']} groups only: with fewer than {_FEW_GROUPS} "
        "the intervals are too narrow."
    ]


def note_no_mistake(title: str, num_test: int) -> str:
    """A sentence on a model that is right on every test image."""
    return (
        f"The {title} model makes no mistake on {num_test} test images, so its interval has no "
        f"width; a true error rate of {100 * min(3 / num_test, 1):.1f} % would still give that in one of 20 "
        "such tests."
    )


def note_empty_classes(counts: Mapping[str, int]) -> list[str]:
    """A sentence if there are classes without a test image; `counts` by name."""
    empty = [name for name, count in counts.items() if count == 0]
    if not empty:
        return []
    return [f"No test image is of class {', '.join(empty)}: nothing is known of how it is recognised."]


def _class_counts(manifest: pd.DataFrame, split: str, label_names: Sequence[str]) -> dict[str, int]:
    labels = manifest.loc[manifest["split"] == split, "label"].to_numpy(np.int64)
    return dict(zip(label_names, np.bincount(labels, minlength=len(label_names)).tolist(), strict=True))


def _unit(num_images: int, groups: Groups | None) -> dict[str, str | int]:
    num_units = int(unit_numbers(num_images, groups).max()) + 1
    return {"unit": "image" if groups is None else "group", "num_units": num_units}
