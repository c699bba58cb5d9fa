"""Target columns: several things to be learnt of one image, as columns of a table.

Knows texts and numbers of a listing: no image, no model. A class is stored as its text and numbered in the manifest; a
number as it is; points in pixels, and in the manifest as fractions of the image's width and height.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from regraft.images.faults import show_first

if TYPE_CHECKING:  # as in sources: the options alone do not need it
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

PREFIX: Final = "target_"
_NUM_STRATA: Final = 4  # of a number, to split by
_TOO_LARGE: Final = 1e30  # its square would be no number

TargetName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class _Columns(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassesColumn(_Columns):
    """Exclusive classes; every value is text."""

    kind: Literal["classes"]
    column: str

    def of_header(self, header: Sequence[str]) -> list[str]:
        """Its columns among those of the table, in order."""
        return [self.column]


class NumberColumn(_Columns):
    """A number, an age for instance."""

    kind: Literal["number"]
    column: str

    def of_header(self, header: Sequence[str]) -> list[str]:
        """Its columns among those of the table, in order."""
        return [self.column]


class PointsColumns(_Columns):
    """Key points in pixels of the image as it is seen, the middle of the first being 0: x and y in turn, in all columns
    from one to another.

    `mirrored` are pairs of points, numbered from 0, that a mirror exchanges: the left eye for the right. With it, even
    empty, mirrored and turned views of an image can be learnt from; None is for points of which that is not known.
    """

    kind: Literal["points"]
    first_column: str
    last_column: str
    mirrored: tuple[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], ...] | None = None

    @model_validator(mode="after")
    def _check_each_has_one_partner(self) -> Self:
        numbers = [number for pair in self.mirrored or () for number in pair]
        if repeated := sorted({number for number in numbers if numbers.count(number) > 1}):
            raise ValueError(f"mirrored: points {', '.join(map(str, repeated))} stand in more than one place")
        return self

    def partners(self, num_points: int) -> list[int] | None:
        """The number of the point that stands for each in a mirror image; None where that is not known."""
        if self.mirrored is None:
            return None
        found = list(range(num_points))
        for one, other in self.mirrored:
            found[one], found[other] = other, one
        return found

    def of_header(self, header: Sequence[str]) -> list[str]:
        """Its columns among those of the table, in order; the ends alone where the table lacks one of them, and none
        where they stand the other way round."""
        ends = [self.first_column, self.last_column]
        if not set(ends) <= set(header):
            return ends
        first, last = map(list(header).index, ends)
        return list(header[first : last + 1])


TargetColumns = Annotated[ClassesColumn | NumberColumn | PointsColumns, Field(discriminator="kind")]
AnyColumns = ClassesColumn | NumberColumn | PointsColumns


def find_taken_names(targets: Mapping[str, AnyColumns]) -> list[str]:
    """Names of targets that other columns have where answers are told: of files, of what is served, of a target's own
    parts (`age_probability` beside classes called `age`)."""
    derived = {"path"}
    for name, target in targets.items():
        if target.kind == "classes":
            derived.add(f"{name}_probability")
    parts = [name for name, target in targets.items() if target.kind == "points"]
    return [
        name
        for name in targets
        if name in derived
        or name.startswith("model_")
        or any(re.fullmatch(rf"{re.escape(part)}_[xy]\d+", name) for part in parts)
    ]


def split_by_classes(targets: Mapping[str, AnyColumns]) -> bool:
    """Whether images are split by classes that are learnt: by one label, or a target's; else by parts of a number."""
    return not targets or any(target.kind == "classes" for target in targets.values())


def manifest_columns(target: Mapping[str, Any]) -> list[str]:
    """The manifest's columns of a target, as `describe_targets` describes it: one, or two a point, x then y."""
    name = PREFIX + str(target["name"])
    if target["kind"] != "points":
        return [name]
    return [f"{name}.{axis}{point}" for point in range(target["num_points"]) for axis in "xy"]


def label_array(manifest: "pd.DataFrame", targets: Sequence[Mapping[str, Any]]) -> "NDArray[np.float64]":
    """`(N, L)` float64, what is learnt of each image: a column a class target (the number of its class) or number, two
    a point; in the order of the targets."""
    columns = [column for target in targets for column in manifest_columns(target)]
    return manifest[columns].to_numpy("float64")


def read_targets(
    rows: Sequence[dict[str, Any]], targets: Mapping[str, AnyColumns], keys: Mapping[str, Sequence[str]]
) -> list[str]:
    """Turn the texts of targets into what the manifest holds, in place, and give each row a `label` to split by.

    That label is the first class target's class; without one, in which quarter of all its number lies, or its points'
    extent.

    Args:
        rows: A row a listed file, with the texts of each target under `keys`.
        targets: By name.
        keys: By name, the keys of a row: one, or two a point.

    Returns:
        What is wrong, all of it.
    """
    faults: list[str] = []
    for name, target in targets.items():
        of_target = keys[name]
        if target.kind == "points" and not of_target:
            faults.append(
                f"target {name!r}: its first column {target.first_column!r} stands behind the last, "
                f"{target.last_column!r}"
            )
            continue
        if len(of_target) % 2 and target.kind == "points":
            faults.append(
                f"target {name!r}: its {len(of_target)} columns from {target.first_column!r} to "
                f"{target.last_column!r} are no pairs of x and y"
            )
            continue
        if target.kind == "points" and (highest := _highest(target)) >= len(of_target) // 2:
            faults.append(f"target {name!r}: mirrored names point {highest}; there are {len(of_target) // 2}")
            continue
        is_text = target.kind == "classes"
        wrong = []
        for row in rows:
            values = [_value(row[key], is_text=is_text) for key in of_target]
            if None in values:
                text = row[of_target[values.index(None)]]
                wrong.append(f"{row['path']} ({'empty' if text is None else repr(text)})")
                continue
            for key, value in zip(of_target, values, strict=True):
                row[key] = value
        if wrong:
            what = "no class" if is_text else "no number"
            faults.append(f"target {name!r}: {len(wrong)} rows have {what}: {show_first(wrong)}")
            continue
        num_values = len({tuple(row[key] for key in of_target) for row in rows})
        if rows and num_values == 1:
            faults.append(f"target {name!r} has one value in all rows: there is nothing to learn")
        if target.kind == "points" and all(0 <= row[key] <= 1 for row in rows for key in of_target):
            faults.append(
                f"target {name!r}: all its points lie within the first pixel; they are to be given in pixels, not as "
                "fractions of the image"
            )
    if targets and rows and not faults:
        _add_strata(rows, targets, keys)
    return faults


def describe_targets(targets: Mapping[str, AnyColumns], listing: "pd.DataFrame") -> list[dict[str, Any]]:
    """What there is to be learnt, JSON-serialisable, in the order given.

    Returns:
        A mapping a target: `name`, `kind`, and `label_names` of classes, alphabetical, or of points `num_points` and
        `partners`, see `PointsColumns.partners`.
    """
    described: list[dict[str, Any]] = []
    for name, target in targets.items():
        found: dict[str, Any] = {"name": name, "kind": target.kind}
        if target.kind == "classes":
            found["label_names"] = sorted(listing[PREFIX + name].unique())
        if target.kind == "points":
            num_points = sum(str(one).startswith(f"{PREFIX}{name}.x") for one in listing.columns)
            found |= {"num_points": num_points, "partners": target.partners(num_points)}
        described.append(found)
    return described


def to_fractions(table: "pd.DataFrame", target: Mapping[str, Any]) -> dict[str, "pd.Series[float]"]:
    """The columns of a points target as fractions of the width and height of each image, its edges being 0 and 1."""
    columns = manifest_columns(target)
    return {
        column: (table[column] + 0.5) / table["width" if place % 2 == 0 else "height"]
        for place, column in enumerate(columns)
    }


def _highest(target: PointsColumns) -> int:
    return max((number for pair in target.mirrored or () for number in pair), default=-1)


def _value(text: str | None, *, is_text: bool) -> str | float | None:
    if is_text or text is None:
        return text
    try:
        value = float(text)
    except ValueError:
        return None
    is_number = math.isfinite(value) and abs(value) < _TOO_LARGE and "_" not in text
    return value if is_number else None


def _add_strata(
    rows: Sequence[dict[str, Any]], targets: Mapping[str, AnyColumns], keys: Mapping[str, Sequence[str]]
) -> None:
    kinds = {target.kind: name for name, target in reversed(list(targets.items()))}
    if "classes" in kinds:
        (key,) = keys[kinds["classes"]]
        for row in rows:
            row["label"] = row[key]
        return
    if "number" in kinds:
        name = kinds["number"]
        numbers = [row[keys[name][0]] for row in rows]
    else:
        name = kinds["points"]
        numbers = [_extent([row[key] for key in keys[name]]) for row in rows]
        name = f"extent of {name}"
    for row, stratum in zip(rows, _quarters(numbers, name), strict=True):
        row["label"] = stratum


def _extent(values: Sequence[float]) -> float:
    return sum(max(values[axis::2]) - min(values[axis::2]) for axis in (0, 1))


def _quarters(numbers: Sequence[float], name: str) -> list[str]:
    """Words for the quarter of all in which each number lies; fewer than four where many are equal."""
    ordered = sorted(numbers)
    edges = sorted({ordered[len(ordered) * part // _NUM_STRATA] for part in range(1, _NUM_STRATA)})
    edges = [edge for edge in edges if edge > ordered[0]]
    words = [
        f"{name} {place + 1} of {len(edges) + 1}"
        + (f", below {edges[place]:g}" if place < len(edges) else "")
        for place in range(len(edges) + 1)
    ]
    return [words[sum(number >= edge for edge in edges)] for number in numbers]
