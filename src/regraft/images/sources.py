"""Sources: where labelled images come from, as options, and the listing that each kind of source gives.

Never opens an image: what is listed may turn out to be unreadable. A new source is a class and a union line
here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from regraft.images import elpv
from regraft.images.faults import SourceError, show_first
from regraft.images.file_names import is_storable
from regraft.images.folders import list_class_folders, list_skipped
from regraft.images.soft_labels import SOFT_PREFIX, WEIGHT
from regraft.images.tables import list_csv
from regraft.images.target_columns import AnyColumns, TargetColumns, TargetName, find_taken_names

if TYPE_CHECKING:  # a listing needs pandas, the options alone do not: `kedro --help` stays fast
    import pandas as pd

LISTING_COLUMNS: Final = ("path", "label", "group", "split")

Row = dict[str, Any]


class _Source(BaseModel):
    """What every source can be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def list_rows(self) -> list[Row]:
        """A row an image, with `LISTING_COLUMNS` and columns of its own."""
        raise NotImplementedError

    def list_skipped(self) -> list[tuple[str, str]]:
        """Files and folders of the source that are not looked at, and why."""
        return []

    def label_order(self) -> tuple[str, ...]:
        """Labels in the order of their numbers; empty for alphabetical."""
        return ()

    def demo_files(self) -> dict[str, Path]:
        """Files that an installed package brings for this source."""
        return {}

    def target_columns(self) -> dict[str, AnyColumns]:
        """What is to be learnt instead of one label, by name; empty for one label."""
        return {}

    def notes(self) -> tuple[str, ...]:
        """Sentences that whoever uses a model trained on these images must know."""
        return ()


class FolderSource(_Source):
    """A folder of class folders: `cats/1.jpg`, `dogs/young/2.jpg`. Nested files belong to it. Or its shards."""

    kind: Literal["folder"] = "folder"
    path: Path

    def list_rows(self) -> list[Row]:
        """A row a file below a class folder."""
        return [
            {"path": path, "label": label, "group": None, "split": None}
            for path, label in list_class_folders(self.path)
        ]

    def list_skipped(self) -> list[tuple[str, str]]:
        """Hidden files, litter, and what lies beside the class folders."""
        return list_skipped(self.path)


class CsvSource(_Source):
    """Files listed in a CSV with a header line; paths are relative to `images`, else to the CSV's own folder.

    `images` may be a folder or the shards it was packed into. Every value is text (`NA` is a label like any
    other). An image without a group is related to no other. Where labels are uncertain, `probability_columns` names
    the column of each label's probability (of two labels, one is enough); `weight_column` that of what an image counts
    in training. Where several things are to be learnt of an image, `targets` names them and their columns, and there is
    no label column.
    """

    kind: Literal["csv"] = "csv"
    path: Path
    images: Path | None = None
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = None
    probability_columns: dict[str, str] = {}
    weight_column: str | None = None
    targets: dict[TargetName, TargetColumns] = {}

    @model_validator(mode="after")
    def _check_targets_stand_alone(self) -> Self:
        if not self.targets:
            return self
        given = {"label_column", "probability_columns"} & self.model_fields_set
        if unfit := [name for name in sorted(given) if getattr(self, name)]:
            raise ValueError(
                f"targets and {' and '.join(unfit)}: name what is to be learnt in one place, the classes of a label "
                "column as a target of kind 'classes'"
            )
        if taken := find_taken_names(self.targets):
            raise ValueError(
                f"targets cannot be called {', '.join(taken)}: other columns are; take other names"
            )
        return self

    def list_rows(self) -> list[Row]:
        """A row a line of the CSV."""
        columns = {
            "path": self.path_column,
            "label": None if self.targets else self.label_column,
            "group": self.group_column,
            "split": self.split_column,
            **{SOFT_PREFIX + label: column for label, column in self.probability_columns.items()},
            **({WEIGHT: self.weight_column} if self.weight_column else {}),
        }
        return list_csv(
            self.path,
            self.path.parent if self.images is None else self.images,
            columns,
            probability_columns=self.probability_columns,
            targets=self.targets,
        )

    def target_columns(self) -> dict[str, AnyColumns]:
        """What is to be learnt instead of one label, by name."""
        return dict(self.targets)


class ElpvSource(_Source):
    """The elpv-dataset: solar cells, functional or defective, in the layout of its package.

    A cell is defective if its defect probability (0, 1/3, 2/3 or 1) reaches the threshold. The group is the
    inferred module, see `elpv.infer_modules`. Further columns: `cell_type`, `defect_probability`.
    """

    kind: Literal["elpv"] = "elpv"
    path: Path = Path("data/01_raw/elpv")
    defect_threshold: float = Field(default=0.5, gt=0.0, le=1.0)

    def list_rows(self) -> list[Row]:
        """A row a cell."""
        labels_path = self.path / "labels.csv"
        if not labels_path.is_file():
            raise SourceError(
                f"{labels_path.as_posix()} is not there; `kedro run --pipeline ingest` copies it out of the "
                "package elpv-dataset. For images of your own set ingest.source.kind to 'folder' or 'csv'."
            )
        try:
            cells = elpv.parse_labels(labels_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SourceError(f"{labels_path.as_posix()}: {error}") from error
        if missing := [cell.path for cell in cells if not (self.path / cell.path).is_file()]:
            raise SourceError(
                f"{len(missing)} files named in {labels_path.as_posix()} are not there: "
                f"{show_first(missing)}. `kedro run --pipeline ingest` copies them out of the package "
                "elpv-dataset."
            )
        functional, defective = self.label_order()
        modules = elpv.infer_modules([cell.cell_type for cell in cells])
        return [
            {
                "path": (self.path / cell.path).as_posix(),
                "label": defective if cell.defect_probability >= self.defect_threshold else functional,
                "group": module,
                "split": None,
                "cell_type": cell.cell_type,
                SOFT_PREFIX + functional: 1 - cell.defect_probability,
                SOFT_PREFIX + defective: cell.defect_probability,
                "defect_probability": cell.defect_probability,
            }
            for cell, module in zip(cells, modules, strict=True)
        ]

    def label_order(self) -> tuple[str, ...]:
        """The defect is class 1, the one to detect."""
        return ("functional", "defective")

    def notes(self) -> tuple[str, ...]:
        """Licence, what counts as defective, and what was inferred."""
        return (
            "elpv-dataset (Deitsch et al. 2019), licence CC BY-NC-SA 4.0: not for commercial use.",
            f"A cell counts as defective from a defect probability of {self.defect_threshold:g}.",
            "The group of a cell is its solar module, inferred from the order of the listing.",
        )

    def demo_files(self) -> dict[str, Path]:
        """What the package elpv-dataset holds."""
        files = elpv.find_packaged_files()
        if files is None:
            raise SourceError(
                "the package elpv-dataset is not installed: install regraft[demo], or set ingest.source.kind "
                "to 'folder' or 'csv' and ingest.source.path to images of your own"
            )
        return files


ImageSource = Annotated[FolderSource | CsvSource | ElpvSource, Field(discriminator="kind")]


def list_images(source: FolderSource | CsvSource | ElpvSource) -> "pd.DataFrame":
    """List the labelled images of a source, without opening them.

    Returns:
        A row an image, by path (byte order): `path` (posix, the source's path in front), `label`, `group` and
        `split` (text, missing where the source has none), then columns of the source's own. The same on every
        machine.

    Raises:
        SourceError: If the source is not there or contradicts itself; all faults of a kind are named.
    """
    import pandas as pd

    rows = sorted(source.list_rows(), key=lambda row: row["path"])
    if unprintable := [
        repr(text) for row in rows for text in (row["path"], row["label"]) if not is_storable(text)
    ]:
        raise SourceError(
            f"names not in UTF-8 or with a carriage return, rename them: {show_first(unprintable)}"
        )
    listing = pd.DataFrame(rows)
    return listing.astype(dict.fromkeys(LISTING_COLUMNS, "str")).copy()  # of a piece, however many columns


def label_order(source: FolderSource | CsvSource | ElpvSource) -> tuple[str, ...]:
    """Labels in the order in which the source numbers them; nothing where that is alphabetical."""
    return source.label_order()


def demo_files(source: FolderSource | CsvSource | ElpvSource) -> dict[str, Path]:
    """Files that come with an installed package, by their path below the source's folder; mostly none.

    Raises:
        SourceError: If the source needs a package that is not installed.
    """
    return source.demo_files()
