"""What the step `ingest` may be told: where the images are and how they are split."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from regraft.images.folders import require_file, require_folder
from regraft.images.sources import CsvSource, ElpvSource, FolderSource, ImageSource
from regraft.images.splits import SplitOptions
from regraft.options.schema import Options


class IngestOptions(Options):
    """Images, checks and splits.

    Attributes:
        source: Where the labelled images are.
        split: How they are parted into train, val and test.
        near_copies: What to do with images that show the same picture: keep them on one side of the split, only
            report them, or not look for them.
        inferred_groups: What to do with groups told from names, folders, cameras and sequences, where the source
            names none: split by them, only suggest them, or not look for them.
        max_unreadable_fraction: More unreadable files than this part of all stop the run.
        exclude: Paths left out, as the report names them.
        corrections: A CSV of labels that somebody has looked at, laid over the source's.
        min_images_per_class: Fewer images of a class stop the run.
    """

    source: ImageSource
    split: SplitOptions
    near_copies: Literal["keep_together", "report", "skip"]
    inferred_groups: Literal["use", "suggest", "skip"]
    max_unreadable_fraction: Annotated[float, Field(ge=0, le=1)]
    exclude: tuple[str, ...]
    corrections: Path | None
    min_images_per_class: Annotated[int, Field(ge=3)]

    def external_paths(self) -> tuple[Path, ...]:
        """Files and folders outside the catalog that the result depends on."""
        source, corrections = self.source, () if self.corrections is None else (self.corrections,)
        if isinstance(source, CsvSource):
            return (source.path, source.images or source.path.parent, *corrections)
        return corrections if isinstance(source, ElpvSource) else (source.path, *corrections)

    def require_external(self) -> None:
        """Find out before anything runs whether they are there.

        Raises:
            SourceError: If not.
        """
        source = self.source
        if isinstance(source, CsvSource):
            require_file(source.path, "ingest.source.path")
            require_folder(source.images or source.path.parent, "ingest.source.images")
        elif isinstance(source, FolderSource):
            require_folder(source.path, "ingest.source.path")
        if self.corrections is not None:
            require_file(self.corrections, "ingest.corrections")
