"""Manifest: the image index with splits and numbered labels, on which everything after ingest is built.

Opens no image: what it says of them, the index said.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from regraft.images.faults import ManifestError, join_faults, show_first
from regraft.images.splits import SPLITS, SplitOptions, assign_splits
from regraft.images.target_columns import (
    PREFIX,
    AnyColumns,
    describe_targets,
    manifest_columns,
    to_fractions,
)

__all__ = ["TARGET", "ManifestError", "add_targets", "build_manifest"]

TARGET: Final = "label"


def build_manifest(
    image_index: pd.DataFrame,
    options: SplitOptions,
    *,
    min_images_per_class: int,
    label_order: Sequence[str] = (),
    are_classes: bool = True,
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Split the images and number their labels.

    Args:
        image_index: As `index_images` returns it; N rows.
        options: How to split.
        min_images_per_class: A class with fewer readable images stops the run.
        label_order: Labels in the order of their numbers, as the source gives them; empty for alphabetical.
        are_classes: Whether the labels are learnt. Parts of a number, which images are only split by, may be one or
            hold few images.

    Returns:
        The index, row for row, with `split` assigned, `label` as int64 in [0, K) and `label_name` as text
        beside it; and for each target column (here: `label`) the K label names in the order of their numbers.

    Raises:
        ManifestError: If an image has no label, there is but one class, or classes have too few images or
            none in some split; all such classes are named.
    """
    unlabelled = image_index.loc[image_index[TARGET].isna(), "path"].tolist()
    if unlabelled:
        raise ManifestError(f"{len(unlabelled)} images have no label: {show_first(unlabelled)}")
    labels = image_index[TARGET].astype("str")
    present = sorted(labels.unique())
    label_names = list(label_order) or present
    if unknown := sorted(set(present) - set(label_names)):
        raise ManifestError(
            f"labels {show_first(unknown)} are not among the source's: {show_first(label_names)}"
        )
    if are_classes and len(label_names) < 2:
        raise ManifestError(
            f"a classifier needs at least two classes, got {len(present)}: {show_first(present)}"
        )

    splits = assign_splits(image_index, options)
    num_images = pd.crosstab(labels, splits)
    num_images = num_images.reindex(index=label_names, columns=list(SPLITS), fill_value=0)
    if are_classes and (faults := _find_thin_classes(num_images, min_images_per_class)):
        raise ManifestError(join_faults(faults))

    number_of_label = {name: number for number, name in enumerate(label_names)}
    manifest = image_index.assign(**{TARGET: labels.map(number_of_label).astype("int64")}, split=splits)
    manifest.insert(list(manifest.columns).index(TARGET) + 1, f"{TARGET}_name", labels)
    return manifest, {TARGET: label_names}


def add_targets(
    manifest: pd.DataFrame, targets: Mapping[str, AnyColumns], *, min_images_per_class: int
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Number the classes of targets, and put points on the scale of their images.

    Args:
        manifest: As `build_manifest` returns it, with columns `target_…` as the source gives them.
        targets: By name; empty where one label is learnt.
        min_images_per_class: A class with fewer readable images stops the run.

    Returns:
        The manifest with `target_<name>` as int64 and `target_<name>.name` beside it, points as fractions of width
        and height; and what there is to be learnt, see `describe_targets`.

    Raises:
        ManifestError: If a target has one class, classes have too few images or none in some split, or points lie
            outside their image by more than it is large.
    """
    described, faults = describe_targets(targets, manifest), list[str]()
    for target in described:
        column = PREFIX + target["name"]
        if target["kind"] == "classes":
            names, labels = target["label_names"], manifest[column].astype("str")
            if len(names) < 2:
                faults.append(f"target {target['name']!r} has one class: {names[0]!r}.")
                continue
            counts = pd.crosstab(labels, manifest["split"]).reindex(columns=list(SPLITS), fill_value=0)
            found = _find_thin_classes(counts, min_images_per_class)
            faults += [f"target {target['name']!r}: {fault}" for fault in found]
            numbers = labels.map({name: number for number, name in enumerate(names)}).astype("int64")
            manifest = manifest.assign(**{column: numbers, f"{column}.name": labels})
        elif target["kind"] == "points":
            fractions = to_fractions(manifest, target)
            is_far = pd.concat([(one < -1) | (one > 2) for one in fractions.values()], axis=1).any(axis=1)
            if is_far.any():
                far = manifest.loc[is_far, "path"].tolist()
                faults.append(
                    f"target {target['name']!r}: points of {len(far)} images lie far outside them: {show_first(far)}. "
                    "They are to be given in pixels of the image."
                )
            manifest = manifest.assign(**fractions)
        if target["kind"] != "classes":
            faults += _find_still(manifest, target)
    if faults:
        raise ManifestError(join_faults(faults))
    return manifest, described


def _find_still(manifest: pd.DataFrame, target: Mapping[str, Any]) -> list[str]:
    """Columns of numbers that are the same in all images of train."""
    train = manifest.loc[manifest["split"] == "train", manifest_columns(target)]
    still = [name.removeprefix(PREFIX) for name in train.columns if train[name].nunique() < 2]
    if not still:
        return []
    return [f"{show_first(still)} have one value in all training images: there is nothing to learn."]


def _find_thin_classes(num_images: pd.DataFrame, min_images_per_class: int) -> list[str]:
    """Classes (rows) with too few images, and others that some split (column) lacks."""
    faults = []
    totals = num_images.sum(axis=1)
    thin = totals[totals < min_images_per_class]
    if len(thin):
        listed = [f"{name!r} ({count})" for name, count in thin.items()]
        faults.append(
            f"{len(thin)} classes have fewer than {min_images_per_class} readable images: "
            f"{show_first(listed)}. Add images, remove the class, or lower ingest.min_images_per_class."
        )
    absent = [
        f"{name!r} (none in {', '.join(split for split in SPLITS if counts[split] == 0)})"
        for name, counts in num_images.drop(index=thin.index).iterrows()
        if (counts == 0).any()
    ]
    if absent:
        faults.append(
            f"{len(absent)} classes are missing in a split: {show_first(absent)}. Add images, remove the "
            "class, or change ingest.split (another seed, larger fractions)."
        )
    return faults
