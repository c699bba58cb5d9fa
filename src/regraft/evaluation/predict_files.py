"""What a model says of image files without labels: a row a file, and the files that cannot be read, with reasons.

Knows paths and a model; no label, no split. Memory holds one batch a stream, however many files there are.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.images.faults import UnreadableImageError
from regraft.messages import report_progress


class Predictor(Protocol):
    """A classifier of ours, or a pretrained one used directly."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """K labels in the order of the probabilities."""
        ...

    def prepare(self, image: Path) -> NDArray[np.uint8]:
        """Pixels `(S, S, 3)` of one file."""
        ...

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities `(B, K)` of `(B, S, S, 3)`."""
        ...


def predict_files(
    model: Predictor, paths: Sequence[str], *, top: int, batch_size: int, num_workers: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict files in the order given.

    Args:
        model: Used as it is.
        paths: Of the files.
        top: How many of the most probable labels are told.
        batch_size: Images a forward pass.
        num_workers: Threads that decode.

    Returns:
        A row a readable file, `path`, then `label`, `probability`, `label_2`, `probability_2` and so on, the most
        probable first; and a row a file that cannot be read, `path` and `reason`.
    """
    names = model.label_names
    top = min(top, len(names))
    rows: list[list[object]] = []
    refused: list[tuple[str, str]] = []

    def prepare(path: str) -> NDArray[np.uint8] | str:
        try:
            return model.prepare(Path(path))
        except UnreadableImageError as error:
            return error.reason
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(num_workers) as executor:
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            prepared = list(zip(batch, executor.map(prepare, batch), strict=True))
            refused += [(path, pixels) for path, pixels in prepared if isinstance(pixels, str)]
            readable = [(path, pixels) for path, pixels in prepared if not isinstance(pixels, str)]
            if readable:
                probabilities = model.predict_pixels(np.stack([pixels for _, pixels in readable]))
                best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
                for (path, _), of_file, order in zip(readable, probabilities, best, strict=True):
                    rows.append([path, *(part for k in order for part in (names[k], float(of_file[k])))])
            report_progress("predicting files", start + len(batch), len(paths))
    columns = ["path"]
    for place in range(1, top + 1):
        suffix = "" if place == 1 else f"_{place}"
        columns += [f"label{suffix}", f"probability{suffix}"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(refused, columns=["path", "reason"])
