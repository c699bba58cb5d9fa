"""Leaks: related images that a given split puts on two sides.

Knows the index's columns only: what is related was found before.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from regraft.images.faults import show_first

if TYPE_CHECKING:
    import pandas as pd

_KIN: Final = {
    "pixel_sha256": "copies of one image",
    "copy_group": "near copies of one image",
    "group": "members of one group",
}


@dataclass(frozen=True)
class Leak:
    """Related images in more than one split.

    Attributes:
        kin: What they are to each other, in words.
        members: Path and split of each, by split and path.
    """

    kin: str
    members: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return " = ".join(f"{path} ({split})" for path, split in self.members)


def find_leaks(image_index: "pd.DataFrame") -> list[Leak]:
    """Find what stands on two sides of the index's `split` column.

    Args:
        image_index: Columns path, split, and those of `pixel_sha256`, `copy_group` and `group` that there are.

    Returns:
        A leak for each torn set of copies, near copies and group; a set of exact copies is not told again as
        one of near copies.
    """
    leaks = []
    told: set[frozenset[tuple[str, str]]] = set()
    for column in (name for name in _KIN if name in image_index.columns):
        known = image_index.dropna(subset=[column, "split"])
        sides = known.groupby(column)["split"].nunique()
        torn = known[known[column].isin(sides.index[sides > 1])].sort_values(["split", "path"])
        for _, members in torn.groupby(column, sort=True):
            named = tuple(zip(members["path"], members["split"], strict=True))
            if frozenset(named) not in told:
                told.add(frozenset(named))
                leaks.append(Leak(_KIN[column], named))
    return leaks


def describe_leaks(leaks: list[Leak]) -> list[str]:
    """A sentence for each kind of leak, with the first of them."""
    sentences = []
    for kin in _KIN.values():
        of_kind = [str(leak) for leak in leaks if leak.kin == kin]
        if of_kind:
            sentences.append(
                f"the given splits put {kin} on two sides ({len(of_kind)} times): {show_first(of_kind)}"
            )
    return sentences
