"""What the step `predict` may be told: which files, and what says something of them."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from regraft.images.faults import SourceError
from regraft.images.folders import require_file
from regraft.options.schema import BatchSize, Options

_REGISTERED = re.compile(r"models:/.+")
PRETRAINED = "pretrained"


class PredictOptions(Options):
    """Files without labels, and a model.

    Attributes:
        images: A folder, or a CSV of paths; null where the step is not run.
        path_column: Of the CSV.
        model: A classifier's file, `models:/NAME@champion` or `models:/NAME/VERSION`, or `pretrained`: the network of
            `build_backbone` as its publisher trained it, with ImageNet's 1,000 labels.
        top: Labels told a file, the most probable first; of several targets every answer is told.
        batch_size: Images a forward pass; `auto` goes by their size and the device.
    """

    images: Path | None
    path_column: str
    model: str
    top: Annotated[int, Field(ge=1, le=1000)]
    batch_size: BatchSize

    @property
    def is_pretrained(self) -> bool:
        """Whether a pretrained network is used directly."""
        return self.model == PRETRAINED

    @property
    def is_registered(self) -> bool:
        """Whether the model is asked for at the registry."""
        return _REGISTERED.fullmatch(self.model) is not None

    def require_external(self) -> None:
        """Find out before anything runs whether files and model are there.

        Raises:
            SourceError: If not.
        """
        if self.images is None:
            raise SourceError(
                "predict.images: which images? A folder, or a CSV with a column of paths: "
                "kedro run --pipeline predict --params predict.images=FOLDER"
            )
        if not self.images.exists():
            require_file(self.images, "predict.images")
        if not self.is_pretrained and not self.is_registered:
            require_file(Path(self.model), "predict.model")
