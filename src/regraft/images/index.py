"""Index: opens every listed image once, and says what was found, what was not, and what is there twice.

Knows no split, no backbone and no place to write to.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
import pandas as pd

from regraft.images.faults import ManifestError, show_first, suggest_near
from regraft.images.file_names import find_alike, find_links_out
from regraft.images.reading import NO_SAVE_POINTS, Facts, read_all
from regraft.images.target_columns import PREFIX
from regraft.images.ways import Way
from regraft.save_points import SavePoints

INDEX_COLUMNS: Final = (
    "id", "path", "label", "group", "split",
    "sha256", "pixel_sha256", "width", "height", "mode", "format", "file_bytes", "read_as",
    "camera", "taken_at",
)  # fmt: skip

_MAX_NAMES: Final = 10_000  # near names of more take seconds
_NUM_EXAMPLES: Final = 3


def index_images(
    listing: pd.DataFrame,
    *,
    max_unreadable_fraction: float,
    exclude: tuple[str, ...],
    on_progress: Callable[[int, int], None],
    skipped: Sequence[tuple[str, str]] = (),
    save_points: SavePoints = NO_SAVE_POINTS,
) -> tuple[pd.DataFrame, dict[str, Any], np.ndarray]:
    """Read, hash, decode and shrink every listed image once, in threads.

    Args:
        listing: Columns `path`, `label`, `group`, `split` and any others, which are kept.
        max_unreadable_fraction: Of the images that are not excluded; more than that stops the run.
        exclude: Files to leave out: the last parts of a path, with wildcards within a part (`cats/013.png`,
            `*.txt`).
        on_progress: Called with the numbers of images done and of all, in this thread.
        skipped: What the source has besides, and why it is not listed; for the report.
        save_points: Keep what was read so far, in blocks; it is not read again.

    Returns:
        The index, a row a readable image by path (byte order): `id` from 0, the listing's columns, `sha256`
        of the file's bytes, `pixel_sha256` of the upright RGB pixels and their size, width, height (upright),
        the mode and format of the file, what was decided while it was read, and what its camera wrote. The
        ingest report, JSON-serialisable. And `(N, 64, 64)` uint8, the thumbnail of each row. All are the same
        on every machine.

    Raises:
        ManifestError: If a path is listed twice, an `exclude` fits no file, nothing is left to read, or too
            many images cannot be read.
    """
    paths = sorted(listing["path"].tolist())
    if repeated := sorted(path for path, count in Counter(paths).items() if count > 1):
        raise ManifestError(f"{len(repeated)} files are listed more than once: {show_first(repeated)}")
    excluded = _match_excludes(paths, exclude)
    paths = [path for path in paths if path not in excluded]
    if not paths:
        raise ManifestError(f"no image is left to index: {len(listing)} listed, {len(excluded)} excluded")
    found, thumbnails, reasons = read_all(paths, on_progress, save_points)
    if not found or len(reasons) > max_unreadable_fraction * len(paths):
        listed = [f"{path}: {reason}" for path, reason in reasons.items()]
        raise ManifestError(
            f"{len(reasons)} of {len(paths)} images cannot be read ({show_first(listed)}); allowed are "
            f"{max_unreadable_fraction:.3g} of them (ingest.max_unreadable_fraction). Repair them or list "
            "them under ingest.exclude."
        )
    facts = pd.DataFrame(found, columns=Facts._fields)
    facts = facts.assign(read_as=["; ".join(map(str, ways)) for ways in facts.pop("ways")]).drop(
        columns="thumbnail"
    )
    image_index = facts.merge(listing, on="path", how="left", validate="one_to_one").assign(
        id=range(len(facts))
    )
    others = [column for column in listing.columns if column not in INDEX_COLUMNS]
    types = {"id": "int64", "camera": "str", "taken_at": "str"}
    image_index = image_index[[*INDEX_COLUMNS, *others]].astype(types).copy()  # of a piece
    report = {
        "num_listed": len(listing),
        "num_images": len(image_index),
        "num_excluded": len(excluded),
        "num_unreadable": len(reasons),
        "excluded": sorted(excluded),
        "unreadable": [{"path": path, "reason": reason} for path, reason in reasons.items()],
        "skipped": _count_kinds((reason, path) for path, reason in skipped),
        "read_as": _count_kinds((way.kind, _example(each.path, way)) for each in found for way in each.ways),
        "links_out": _count_kinds(("link out of the folder", path) for path in find_links_out(paths)),
        "names_alike": find_alike(paths),
        "labels_alike": find_alike(listing["label"].dropna().unique()),
    }
    return image_index, report | _describe(image_index), thumbnails


def _match_excludes(paths: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """Listed paths that are excluded; a pattern that fits none was mistyped."""
    if not exclude:
        return set()
    fits = {pattern: _match(paths, pattern) for pattern in exclude}
    if idle := [pattern for pattern in exclude if not fits[pattern]]:
        tails = {"/".join(_tail(path, idle[0])) for path in paths}
        near = suggest_near(idle[0], tails) if len(tails) <= _MAX_NAMES else ""
        raise ManifestError(f"ingest.exclude fits no listed file: {show_first(idle)}.{near}")
    return set().union(*fits.values())


def _match(paths: Sequence[str], pattern: str) -> set[str]:
    """Paths whose last parts are the pattern's by the letter (`img[1].png`), else by its wildcards."""
    parts = pattern.split("/")
    tails = {path: _tail(path, pattern) for path in paths}
    by_letter = {path for path, tail in tails.items() if tail == parts}
    return by_letter or {
        path for path, tail in tails.items() if len(tail) == len(parts) and all(map(fnmatchcase, tail, parts))
    }


def _tail(path: str, pattern: str) -> list[str]:
    """As many of the last parts of a path as the pattern has."""
    return path.split("/")[-len(pattern.split("/")) :]


def _describe(image_index: pd.DataFrame) -> dict[str, Any]:
    """What a person should know of the images before trusting a number made from them."""
    duplicates = _list_duplicates(image_index)
    group_sizes = image_index["group"].value_counts()
    return {
        "num_images_by_label": _count(image_index["label"]),
        "num_images_by_mode": _count(image_index["mode"]),
        "num_images_by_format": _count(image_index["format"]),
        "width": {"min": int(image_index["width"].min()), "max": int(image_index["width"].max())},
        "height": {"min": int(image_index["height"].min()), "max": int(image_index["height"].max())},
        "file_bytes": int(image_index["file_bytes"].sum()),
        "groups": {
            "num_groups": len(group_sizes),
            "num_images_without_group": int(image_index["group"].isna().sum()),
            "smallest": int(group_sizes.min()) if len(group_sizes) else 0,
            "largest": int(group_sizes.max()) if len(group_sizes) else 0,
        },
        "duplicates": duplicates,
        "duplicates_with_two_labels": [same for same in duplicates if len(set(same["labels"])) > 1],
    }


def _list_duplicates(image_index: pd.DataFrame) -> list[dict[str, Any]]:
    """Files with the same pixels, sets of them by their first path; of several targets what is true as one text."""
    copies = image_index[image_index.duplicated("pixel_sha256", keep=False)]
    targets = [name for name in copies.columns if name.startswith(PREFIX) and "." not in name]
    if targets:  # points, which are many columns, are not told here
        told = copies[targets].astype("str").apply(", ".join, axis=1) if len(copies) else copies["label"]
        copies = copies.assign(label=told)
    return [
        {"pixel_sha256": digest, "paths": same["path"].tolist(), "labels": same["label"].tolist()}
        for digest, same in copies.groupby("pixel_sha256", sort=False)
    ]


def _count(values: "pd.Series[str]") -> dict[str, int]:
    """How often each value stands, by value."""
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


def _count_kinds(items: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """How often each kind stands, the commonest first, with the first few examples of it."""
    examples: defaultdict[str, list[str]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for kind, example in items:
        counts[kind] += 1
        if len(examples[kind]) < _NUM_EXAMPLES:
            examples[kind].append(example)
    return {kind: {"number": count, "examples": examples[kind]} for kind, count in counts.most_common()}


def _example(path: str, way: Way) -> str:
    """A path, and what was particular to it."""
    return f"{path}: {way.detail}" if way.detail else path
