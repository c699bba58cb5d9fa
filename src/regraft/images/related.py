"""Related: adds to the index which images belong together, and says how that was found out.

Opens no file. Copies come from thumbnails, groups from names, folders, cameras and sequences.
"""

from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from regraft.images.clusters import connect
from regraft.images.copies import NearCopies, find_near_copies
from regraft.images.groups import join_groups, suggest_groups
from regraft.images.leaks import describe_leaks, find_leaks
from regraft.images.thumbnails import ORIENTATIONS

NearCopiesPolicy = Literal["keep_together", "report", "skip"]
GroupsPolicy = Literal["use", "suggest", "skip"]

_MOVED: Final = 0.01  # of a side
_GAINED: Final = 0.05
_RESIZED: Final = 0.12  # of a side: more than a crop


def relate_images(
    image_index: pd.DataFrame, thumbnails: np.ndarray, *, near_copies: NearCopiesPolicy, groups: GroupsPolicy
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Find near copies and groups.

    Args:
        image_index: As `index_images` returns it; N rows.
        thumbnails: `(N, 64, 64)` uint8.
        near_copies: `keep_together` writes them into `copy_group`, so that no split parts them; `report` tells
            them only; `skip` does not look.
        groups: `use` writes inferred groups into `group` where the source names none at all; `suggest` tells
            them only; `skip` does not look.

    Returns:
        The index with a column `copy_group` (text, missing where an image has no copy), and what was found,
        JSON-serialisable: `near_copies`, `near_copy_pairs`, `near_copies_with_two_labels`,
        `suggested_groups`.
    """
    first, second, found = _find_pairs(image_index, thumbnails, near_copies)
    related = image_index.assign(copy_group=_name_sets(image_index, first, second, near_copies))
    suggestions = suggest_groups(image_index, thumbnails) if groups != "skip" else []
    is_used = groups == "use" and bool(image_index["group"].isna().all())
    if is_used:
        joined = join_groups(suggestions, len(image_index))
        related["group"] = pd.Series(joined, index=image_index.index, dtype="str")
    told = [suggestion.as_dict() for suggestion in suggestions]
    used = int(related["group"].notna().sum()) if is_used else 0
    return related, found | {"suggested_groups": told, "num_images_in_inferred_groups": used}


def report_leaks(image_index: pd.DataFrame) -> dict[str, Any]:
    """What a given split tears apart: `warnings` for the head of every report, and all `leaks`."""
    leaks = find_leaks(image_index)
    return {
        "warnings": [f"Leak: {sentence}." for sentence in describe_leaks(leaks)],
        "leaks": [{"related_as": leak.kin, "images": str(leak)} for leak in leaks],
    }


def _find_pairs(
    image_index: pd.DataFrame, thumbnails: np.ndarray, policy: NearCopiesPolicy
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Row numbers of near copies, and what to tell of them."""
    if policy == "skip":
        return np.zeros(0, np.int64), np.zeros(0, np.int64), {}
    rows = np.flatnonzero(~image_index.duplicated("pixel_sha256").to_numpy())
    copies = find_near_copies(thumbnails if len(rows) == len(thumbnails) else thumbnails[rows])
    first, second = rows[copies.first], rows[copies.second]
    paths, labels = image_index["path"].tolist(), image_index["label"].tolist()
    pairs: list[dict[str, Any]] = [
        {
            "paths": [paths[one], paths[other]],
            "labels": [labels[one], labels[other]],
            "changes": _name_changes(image_index.iloc[[one, other]], copies, number),
            "difference": round(float(copies.difference[number]), 4),
        }
        for number, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True))
    ]
    members = np.unique(np.concatenate([first, second]))
    found = {
        "near_copies": {
            "num_pairs": len(pairs),
            "num_images": len(members),
            "num_sets": len(np.unique(connect(len(image_index), first, second)[members])),
            "num_pairs_compared": copies.num_compared,
            "max_difference": round(copies.max_difference, 4),
            "num_flat_images_not_compared": int(copies.is_flat.sum()),
        },
        "near_copies_with_two_labels": [pair for pair in pairs if pair["labels"][0] != pair["labels"][1]],
        "near_copy_pairs": pairs,
    }
    return first, second, found


def _name_sets(
    image_index: pd.DataFrame, first: np.ndarray, second: np.ndarray, policy: NearCopiesPolicy
) -> "pd.Series[str]":
    """`copies-<id of the first>` for every image with a near copy, and for the exact copies of those."""
    names: list[str | None] = [None] * len(image_index)
    if policy == "keep_together" and len(first):
        digest = pd.factorize(image_index["pixel_sha256"])[0]
        same = np.unique(digest, return_index=True)[1][digest]
        everyone = np.arange(len(image_index))
        unit = connect(len(image_index), np.concatenate([first, everyone]), np.concatenate([second, same]))
        near = set(unit[first].tolist())
        ids = image_index["id"].tolist()
        names = [f"copies-{ids[number]}" if number in near else None for number in unit.tolist()]
    return pd.Series(names, index=image_index.index, dtype="str")


def _name_changes(two: pd.DataFrame, copies: NearCopies, number: int) -> list[str]:
    """What was done to one image to get the other, as far as it can be told."""
    orientation = int(copies.orientation[number])
    changes = [ORIENTATIONS[orientation]] if orientation else []
    shift, stretch = copies.motion[number, 0::2], copies.motion[number, 1::2]
    if np.abs(shift).max() > _MOVED or np.abs(stretch - 1).max() > _MOVED:
        changes.append("cropped")
    sizes = two[["width", "height"]].to_numpy()
    one, other = (sizes[0, ::-1] if orientation >= 4 else sizes[0]), sizes[1]
    if np.abs(other / one / stretch - 1).max() > _RESIZED:
        changes.append("resized")
    if abs(float(copies.gain[number]) - 1) > _GAINED:
        changes.append("brightness or contrast")
    if two["format"].nunique() > 1:
        changes.append("re-encoded")
    return changes or ["small differences"]
