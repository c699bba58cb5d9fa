"""Groups: which images may show the same thing, told from names, folders, capture times and sequences.

Opens no image and splits nothing: it suggests. A guess from a name counts only if the pixels agree: members of a
group have to look more alike than images of different groups.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from regraft.images.clusters import connect
from regraft.images.likeness import measure_likeness
from regraft.images.runs import cut_into_runs

if TYPE_CHECKING:
    import pandas as pd

_MIN_GROUPS: Final = 3
_MAX_GROUP_FRACTION: Final = (
    0.25  # of the images, in one group: `img_0001` to `img_2000` share `img`, and are none
)
_MIN_GROUPED_FRACTION: Final = 0.2  # of the images, with at least one other in their group
_MIN_SIMILARITY: Final = 0.62  # chance is 0.5; ages in the names of faces give 0.55, people 0.69, clips 0.98
_BURST_S: Final = 10
_MIN_SEQUENCE: Final = 100

_LAST_NUMBER: Final = r"[\W_]*(?:frame|image|img|f)?[\W_]*\d+$"
_NAMES: Final[Mapping[str, Callable[[str], str]]] = {
    "file name without its last number": lambda stem: re.sub(_LAST_NUMBER, "", stem),
    "file name without its last two numbers": lambda stem: re.sub(r"[\W_]*\d+" + _LAST_NUMBER, "", stem),
    "file name without its last digit": lambda stem: re.sub(r"(?<=\d)\d$", "", stem),
    "first part of the file name": lambda stem: re.split(r"[\W_]+", stem)[0],
}


@dataclass(frozen=True)
class Suggestion:
    """One way in which the images may fall into groups.

    Attributes:
        kind: `name`, `folder`, `capture` or `run`.
        how: What the groups were told from.
        groups: The group of each image, None where it has none.
        similarity: How often a member looks more like another member than like an image of another group;
            None for runs, whose borders were told from the pixels in the first place.
        is_supported: Whether the pixels agree.
    """

    kind: str
    how: str
    groups: tuple[str | None, ...]
    similarity: float | None
    is_supported: bool

    def as_dict(self) -> dict[str, Any]:
        """For the ingest report."""
        sizes: dict[str, int] = {}
        for group in self.groups:
            if group is not None:
                sizes[group] = sizes.get(group, 0) + 1
        return {
            "told_from": self.how,
            "num_groups": len(sizes),
            "num_images": sum(size for size in sizes.values() if size > 1),
            "largest": max(sizes.values()),
            "similarity": None if self.similarity is None else round(self.similarity, 3),
            "is_supported": self.is_supported,
            "examples": sorted(sizes, key=lambda group: (-sizes[group], group))[:3],
        }


def suggest_groups(image_index: "pd.DataFrame", thumbnails: np.ndarray, *, seed: int = 0) -> list[Suggestion]:
    """Guess groups that no column names.

    Args:
        image_index: N rows: path, label, camera, taken_at.
        thumbnails: `(N, S, S)` uint8.
        seed: Of the pairs compared, and of the shuffles.

    Returns:
        What was thought of and has groups of a plausible size, whether the pixels agree or not.
    """
    import pandas as pd

    paths = [PurePosixPath(path) for path in image_index["path"]]
    labels = [None if pd.isna(label) else str(label) for label in image_index["label"]]
    generator = np.random.default_rng(seed)
    guesses: list[tuple[str, str, list[str | None]]] = [
        ("name", how, [cut(path.stem) or None for path in paths]) for how, cut in _NAMES.items()
    ]
    guesses.append(("folder", "folders below the class", _folders(paths, labels)))
    times = zip(image_index["camera"], image_index["taken_at"], strict=True)
    guesses.append(("capture", f"same camera within {_BURST_S} s", _bursts(list(times))))
    suggestions: list[Suggestion] = []
    seen = set()
    finest_first = sorted(guesses, key=lambda guess: -len(set(guess[2])))
    for kind, how, groups in finest_first:
        numbers = _number(groups)
        if how.endswith("last digit") and _is_counted(paths):
            continue
        if not _is_plausible(numbers) or (key := numbers.tobytes()) in seen:
            continue
        seen.add(key)
        known = _number(join_groups(suggestions, len(paths)))
        similarity = measure_likeness(numbers, known, thumbnails, generator)
        is_supported = similarity >= _MIN_SIMILARITY
        suggestions.append(Suggestion(kind, how, tuple(groups), similarity, is_supported))
    runs = _runs(paths, labels, thumbnails, generator)
    if _is_plausible(_number(runs)):
        suggestions.append(Suggestion("run", "runs of images alike in numbered files", runs, None, True))
    return suggestions


def join_groups(suggestions: Sequence[Suggestion], num_images: int) -> list[str | None]:
    """One group an image from all supported suggestions: who shares a group in one of them shares it.

    Runs are only taken where nothing else is supported: their borders are less sure.
    """
    supported = [suggestion for suggestion in suggestions if suggestion.is_supported]
    chosen = [suggestion for suggestion in supported if suggestion.kind != "run"] or supported
    first, second = [], []
    for suggestion in chosen:
        numbers = _number(suggestion.groups)
        for number in range(numbers.max(initial=-1) + 1):
            members = np.flatnonzero(numbers == number)
            first.append(np.repeat(members[:1], len(members)))
            second.append(members)
    if not chosen:
        return [None] * num_images
    unit = connect(num_images, np.concatenate(first), np.concatenate(second))
    size = np.bincount(unit, minlength=num_images)
    return [f"inferred-{number}" if size[number] > 1 else None for number in unit.tolist()]


def _is_counted(paths: Sequence[PurePosixPath]) -> bool:
    """Whether the last digits are those of a running number, whose tens mean nothing: all ten, about as often."""
    ends = [int(path.stem[-1]) for path in paths if re.fullmatch(r"[0-9]", path.stem[-1:])]
    return bool(ends) and bool(np.bincount(ends, minlength=10).min() > 0.05 * len(ends))


def _folders(paths: Sequence[PurePosixPath], labels: Sequence[str | None]) -> list[str | None]:
    """The folder below the one that is named after the label; None where there is none."""
    groups: list[str | None] = []
    for path, label in zip(paths, labels, strict=True):
        parts = path.parent.parts
        below = parts[len(parts) - parts[::-1].index(label) :] if label in parts else ()
        groups.append("/".join(below) or None)
    return groups


def _bursts(captures: Sequence[tuple[Any, Any]]) -> list[str | None]:
    """Images of one camera, each taken within seconds of the one before."""
    groups: list[str | None] = [None] * len(captures)
    timed = [
        (camera, datetime.fromisoformat(taken_at), image)
        for image, (camera, taken_at) in enumerate(captures)
        if isinstance(camera, str) and isinstance(taken_at, str)
    ]
    previous: tuple[str, datetime] | None = None
    name = ""
    for camera, taken_at, image in sorted(timed):
        if previous is None or camera != previous[0] or (taken_at - previous[1]).total_seconds() > _BURST_S:
            name = f"{camera} {taken_at.isoformat()}"
        groups[image] = name
        previous = camera, taken_at
    return groups


def _runs(
    paths: Sequence[PurePosixPath],
    labels: Sequence[str | None],
    thumbnails: np.ndarray,
    generator: np.random.Generator,
) -> tuple[str | None, ...]:
    """Runs within each long sequence of files that differ in their last number only."""
    sequences: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for image, path in enumerate(paths):
        if match := re.fullmatch(r"(.*?)(\d+)", path.stem):
            key = (path.parent.as_posix(), match.group(1))
            sequences.setdefault(key, []).append((int(match.group(2)), image))
    groups: list[str | None] = [None] * len(paths)
    numbers = np.unique([str(label) for label in labels], return_inverse=True)[1]
    for (folder, prefix), members in sorted(sequences.items()):
        if len(members) < _MIN_SEQUENCE:
            continue
        images = np.array([image for _, image in sorted(members)])
        run_of_image = cut_into_runs(thumbnails[images], numbers[images], generator)
        if run_of_image is not None:
            for image, run in zip(images.tolist(), run_of_image.tolist(), strict=True):
                groups[image] = f"{PurePosixPath(folder).name}/{prefix}* run {run + 1:03d}"
    return tuple(groups)


def _number(groups: Sequence[str | None]) -> np.ndarray:
    """`(N,)` int64, -1 for none."""
    number_of_group = {
        group: number for number, group in enumerate(dict.fromkeys(groups)) if group is not None
    }
    dense = {group: position for position, group in enumerate(number_of_group)}
    return np.array([-1 if group is None else dense[group] for group in groups], np.int64)


def _is_plausible(numbers: np.ndarray) -> bool:
    """Several groups, none of them most of the images, and enough images with company."""
    sizes = np.bincount(numbers[numbers >= 0]) if (numbers >= 0).any() else np.zeros(0, np.int64)
    shared = sizes[sizes > 1]
    return bool(
        len(shared) >= _MIN_GROUPS
        and shared.max() <= max(_MAX_GROUP_FRACTION * len(numbers), 2)
        and shared.sum() >= _MIN_GROUPED_FRACTION * len(numbers)
    )
