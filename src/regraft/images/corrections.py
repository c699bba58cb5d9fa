"""Corrections: a table of labels that somebody has looked at, laid over whatever source the images come from.

Knows the listing and the table: no option, no image, no model.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regraft.images.faults import ManifestError, join_faults, show_first, suggest_near
from regraft.images.folders import require_file
from regraft.images.soft_labels import SOFT_PREFIX

if TYPE_CHECKING:  # as in sources: the options alone do not need it
    import pandas as pd

EXCLUDE: Final = "exclude"
_MAX_NAMES: Final = 10_000  # near names of more take seconds


@dataclass(frozen=True)
class Correction:
    """One decided line of the table: the label that is right, or `exclude`; what the source said, if it is told."""

    path: str
    label: str
    given_label: str | None
    reason: str | None


def apply_corrections(
    listing: "pd.DataFrame", path: Path, *, label_order: Sequence[str] = ()
) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Put right what somebody has looked at.

    Args:
        listing: Columns `path` and `label`, as a source gives them, and `soft_<label>` where labels are uncertain.
        path: A CSV in UTF-8 with the columns `path` and `label`, and `given_label`, `reason` if wanted; others are
            not read. A path may be the last parts of the listed one. An empty label is no decision yet; `exclude`
            leaves the image out (where no class has that name); the label it has already confirms it.
        label_order: Labels that the source knows, besides those that occur.

    Returns:
        The listing without what is left out, `label` put right, and the further columns `source_label`,
        `reviewed_label` (missing where nobody has looked) and `reason`; probabilities of a reviewed image are 0 and 1.
        And what was done, JSON-serialisable.

    Raises:
        ManifestError: If a path or label is unknown or ambiguous, an image has two different labels, or a
            `given_label` is no longer what the source says; all faults at once.
    """
    corrections, faults = _read(path)
    labels = {*map(str, listing["label"].dropna()), *label_order}
    found = _find_rows(corrections, listing["path"].tolist(), faults)
    _check_labels(corrections, labels, faults)
    _check_twice(found, faults)
    label_of = dict(zip(listing["path"], listing["label"], strict=True))
    _check_given(found, label_of, faults)
    if faults:
        raise ManifestError(f"{path.as_posix()} (ingest.corrections): {join_faults(faults)}")
    decided = dict(found)
    left_out = {
        listed: one for listed, one in decided.items() if one.label == EXCLUDE and EXCLUDE not in labels
    }
    changed = {
        listed: one
        for listed, one in decided.items()
        if listed not in left_out and one.label != label_of[listed]
    }
    report = {
        "num_changed": len(changed),
        "num_confirmed": len(decided) - len(changed) - len(left_out),
        "num_left_out": len(left_out),
        "changed": _rows(changed, label_of),
        "left_out": _rows(left_out, label_of),
    }
    kept = listing[~listing["path"].isin(left_out)]
    return _relabelled(kept, decided), report


def _read(path: Path) -> tuple[list[Correction], list[str]]:
    """Decided lines, and what is wrong with the table; what is no such table stops at once."""
    require_file(path, "ingest.corrections")
    decided: list[Correction] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.DictReader(file, strict=True)
            lines.fieldnames = [name.strip() for name in lines.fieldnames or ()]
            if missing := [name for name in ("path", "label") if name not in lines.fieldnames]:
                raise ManifestError(
                    f"{path.as_posix()} (ingest.corrections) has no column {' and no column '.join(missing)}; the "
                    f"columns are: {', '.join(lines.fieldnames) or 'none, the file is empty'}"
                )
            uneven = []
            for line in lines:
                if None in line or None in line.values():
                    uneven.append(f"line {lines.line_num}")
                    continue
                values = {name: value.strip() or None for name, value in line.items()}
                if values["label"] is not None:
                    decided.append(
                        Correction(
                            path=values["path"] or "",
                            label=values["label"],
                            given_label=values.get("given_label"),
                            reason=values.get("reason"),
                        )
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path.as_posix()} (ingest.corrections) is not a CSV in UTF-8 with commas: {error}"
        ) from error
    faults = []
    if uneven:
        faults.append(f"{len(uneven)} lines have not as many values as the header: {show_first(uneven)}")
    return decided, faults


def _find_rows(
    corrections: Sequence[Correction], paths: Sequence[str], faults: list[str]
) -> list[tuple[str, Correction]]:
    """The listed path that each correction means; those that mean none, or several, are faults."""
    listed = set(paths)
    wanted = {one.path for one in corrections} - listed
    by_tail: defaultdict[str, list[str]] = defaultdict(list)
    for depth in {path.count("/") for path in wanted}:
        for path in paths if wanted else ():
            by_tail["/".join(path.split("/")[-depth - 1 :])].append(path)
    found: list[tuple[str, Correction]] = []
    unknown: list[str] = []
    several: list[str] = []
    for one in corrections:
        fits = [one.path] if one.path in listed else by_tail.get(one.path, [])
        if len(fits) == 1:
            found.append((fits[0], one))
        else:
            (several if fits else unknown).append(one.path)
    if unknown:
        near = suggest_near(unknown[0], paths) if len(paths) <= _MAX_NAMES else ""
        faults.append(f"{len(unknown)} paths are not among the images: {show_first(unknown)}.{near}")
    if several:
        faults.append(f"{len(several)} paths fit several images, write more of them: {show_first(several)}.")
    return found


def _check_labels(corrections: Sequence[Correction], labels: set[str], faults: list[str]) -> None:
    unknown = sorted({one.label for one in corrections} - labels - {EXCLUDE})
    if unknown:
        near = "".join(suggest_near(label, labels) for label in unknown[:3])
        faults.append(
            f"labels {show_first(unknown)} are none of the source's ({show_first(sorted(labels))}) nor "
            f"'{EXCLUDE}'.{near}"
        )


def _check_twice(found: Sequence[tuple[str, Correction]], faults: list[str]) -> None:
    labels_of: defaultdict[str, set[str]] = defaultdict(set)
    for listed, one in found:
        labels_of[listed].add(one.label)
    twice = [
        f"{path} ({', '.join(sorted(labels))})"
        for path, labels in sorted(labels_of.items())
        if len(labels) > 1
    ]
    if twice:
        faults.append(f"{len(twice)} images are given different labels: {show_first(twice)}.")


def _check_given(
    found: Sequence[tuple[str, Correction]], label_of: dict[str, str], faults: list[str]
) -> None:
    stale = [
        f"{listed} (corrected when it was {one.given_label!r}, now {label_of[listed]!r})"
        for listed, one in found
        if one.given_label is not None and one.given_label != label_of[listed]
    ]
    if stale:
        faults.append(
            f"the source's label has changed since {len(stale)} corrections were made: {show_first(stale)}. Look "
            "again, then put the new label into given_label, or delete the line."
        )


def _rows(corrections: dict[str, Correction], label_of: dict[str, str]) -> list[dict[str, str | None]]:
    return [
        {"path": path, "given_label": label_of[path], "label": one.label, "reason": one.reason}
        for path, one in sorted(corrections.items())
    ]


def _relabelled(listing: "pd.DataFrame", decided: dict[str, Correction]) -> "pd.DataFrame":
    """Source, reviewed and present label side by side; who has looked is certain."""
    reviewed = listing["path"].map({path: one.label for path, one in decided.items()}).astype("str")
    labels = reviewed.where(reviewed.notna(), listing["label"]).astype("str")
    soft = {
        column: listing[column].where(
            reviewed.isna(), (labels == column.removeprefix(SOFT_PREFIX)).astype("float64")
        )
        for column in listing.columns
        if column.startswith(SOFT_PREFIX)
    }
    reasons = listing["path"].map({path: one.reason for path, one in decided.items()}).astype("str")
    return listing.assign(
        label=labels, source_label=listing["label"], reviewed_label=reviewed, reason=reasons, **soft
    )
