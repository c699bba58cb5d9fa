"""Index: opens every listed image once, and says what was found, what was not, and what is there twice.

Knows no split, no backbone and no place to write to.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from typing import Any, Final

import pandas as pd

from regraft.images.decoding import UnreadableImageError, decode, read_image_bytes
from regraft.images.faults import ManifestError, show_first, suggest_near

INDEX_COLUMNS: Final = (
    "id", "path", "label", "group", "split",
    "sha256", "pixel_sha256", "width", "height", "mode", "format", "file_bytes",
)  # fmt: skip

Facts = dict[str, Any]

_MAX_NAMES: Final = 10_000  # near names of more take seconds


def index_images(
    listing: pd.DataFrame,
    *,
    max_unreadable_fraction: float,
    exclude: tuple[str, ...],
    on_progress: Callable[[int, int], None],
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read, hash and decode every listed image once, in threads.

    Args:
        listing: Columns `path`, `label`, `group`, `split` and any others, which are kept.
        max_unreadable_fraction: Of the images that are not excluded; more than that stops the run.
        exclude: Files to leave out: the last parts of a path, with wildcards within a part (`cats/013.png`,
            `*.txt`).
        on_progress: Called with the numbers of images done and of all, in this thread.

    Returns:
        The index, a row a readable image by path (byte order): `id` from 0, the listing's columns, `sha256`
        of the file's bytes, `pixel_sha256` of the upright RGB pixels and their size, width, height (upright),
        and the mode and format of the file. And the ingest report, JSON-serialisable. Both are the same on
        every machine.

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
    facts_of_path, reasons = _read_all(paths, on_progress)
    if not facts_of_path or len(reasons) > max_unreadable_fraction * len(paths):
        listed = [f"{path}: {reason}" for path, reason in reasons.items()]
        raise ManifestError(
            f"{len(reasons)} of {len(paths)} images cannot be read ({show_first(listed)}); allowed are "
            f"{max_unreadable_fraction:.3g} of them (ingest.max_unreadable_fraction). Repair them or list "
            "them under ingest.exclude."
        )
    facts = pd.DataFrame(facts_of_path.values())
    image_index = facts.merge(listing, on="path", how="left", validate="one_to_one").assign(
        id=range(len(facts))
    )
    others = [column for column in listing.columns if column not in INDEX_COLUMNS]
    image_index = image_index[[*INDEX_COLUMNS, *others]].astype({"id": "int64"})
    report = {
        "num_listed": len(listing),
        "num_images": len(image_index),
        "num_excluded": len(excluded),
        "num_unreadable": len(reasons),
        "excluded": sorted(excluded),
        "unreadable": [{"path": path, "reason": reason} for path, reason in reasons.items()],
        "first_frame_only": facts.loc[facts["is_animated"], "path"].tolist(),
    }
    return image_index, report | _describe(image_index)


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


def _read_all(
    paths: Sequence[str], on_progress: Callable[[int, int], None]
) -> tuple[dict[str, Facts], dict[str, str]]:
    """Facts of the readable images and reasons of the others, both in the order of the paths."""
    facts_of_path, reasons = {}, {}
    with ThreadPoolExecutor(_count_cores()) as executor:
        try:
            for done, result in enumerate(executor.map(_read_facts, paths), start=1):
                if isinstance(result, str):
                    reasons[paths[done - 1]] = result
                else:
                    facts_of_path[paths[done - 1]] = result
                on_progress(done, len(paths))
        except BaseException:  # Ctrl-C: else the executor reads all the rest first
            executor.shutdown(cancel_futures=True)
            raise
    return facts_of_path, reasons


def _read_facts(path: str) -> Facts | str:
    """What one file holds, or why it cannot be read."""
    try:
        data = read_image_bytes(path)
        decoded = decode(data)
    except UnreadableImageError as error:
        return error.reason
    width, height = decoded.image.size
    pixels = hashlib.sha256(f"{width}x{height}:".encode())  # a 2×3 image is no copy of a 3×2 one
    pixels.update(decoded.image.tobytes())
    return {
        "path": path,
        "sha256": hashlib.sha256(data).hexdigest(),
        "pixel_sha256": pixels.hexdigest(),
        "width": width,
        "height": height,
        "mode": decoded.mode,
        "format": decoded.format,
        "file_bytes": len(data),
        "is_animated": decoded.is_animated,
    }


def _count_cores() -> int:
    """Cores that this process may use; macOS only tells how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """Files with the same pixels, sets of them by their first path."""
    copies = image_index[image_index.duplicated("pixel_sha256", keep=False)]
    return [
        {"pixel_sha256": digest, "paths": same["path"].tolist(), "labels": same["label"].tolist()}
        for digest, same in copies.groupby("pixel_sha256", sort=False)
    ]


def _count(values: "pd.Series[str]") -> dict[str, int]:
    """How often each value stands, by value."""
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}
