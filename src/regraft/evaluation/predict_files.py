"""What a model says of image files without labels: a row a file, and the files that cannot be read, with reasons.

Knows paths and a model; no label, no split. Memory holds one batch a stream, however many files there are.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.heads.numbers import NumbersTarget
from regraft.heads.several import SeveralTargets
from regraft.images.faults import UnreadableImageError
from regraft.messages import report_progress

Floats = NDArray[np.float64]


class Predictor(Protocol):
    """A classifier of ours, or a pretrained one used directly."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """K labels in the order of the probabilities."""
        ...

    def prepare(self, image: Path) -> NDArray[np.uint8]:
        """Pixels `(S, S, 3)` of one file."""
        ...

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> Floats:
        """Probabilities `(B, K)` of `(B, S, S, 3)`."""
        ...


class SeveralPredictor(Predictor, Protocol):
    """A classifier of several targets."""

    @property
    def target(self) -> SeveralTargets:
        """What its answers `(B, A)` are to."""
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
    columns = ["path"]
    for place in range(1, top + 1):
        suffix = "" if place == 1 else f"_{place}"
        columns += [f"label{suffix}", f"probability{suffix}"]

    def tell(probabilities: Floats) -> list[object]:
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [part for k in best for part in (names[k], float(probabilities[k]))]

    return _predict(model, paths, columns, tell, batch_size=batch_size, num_workers=num_workers)


def predict_targets_of_files(
    model: SeveralPredictor, paths: Sequence[str], *, batch_size: int, num_workers: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predict all targets of files in the order given.

    Args:
        model: Used as it is.
        paths: See `predict_files`, and there for the others.

    Returns:
        A row a readable file, `path`, then by target: of classes `<target>`, the likeliest, and `<target>_probability`;
        of a number `<target>`; of points `<target>_x0`, `<target>_y0` and so on, fractions of the image's width and
        height. And a row a file that cannot be read, `path` and `reason`.
    """
    columns = ["path"]
    for member in model.target.members:
        name = member.column
        if not isinstance(member, NumbersTarget):
            columns += [name, f"{name}_probability"]
        elif member.kind == "number":
            columns.append(name)
        else:
            columns += [f"{name}_{axis}{point}" for point in range(member.num_labels // 2) for axis in "xy"]

    def tell(answers: Floats) -> list[object]:
        row: list[object] = []
        for member, _, _, of_answers in model.target.parts():
            values = answers[of_answers]
            if isinstance(member, NumbersTarget):
                row += values.tolist()
            else:
                row += [member.label_names[int(values.argmax())], float(values.max())]
        return row

    return _predict(model, paths, columns, tell, batch_size=batch_size, num_workers=num_workers)


def _predict(
    model: Predictor,
    paths: Sequence[str],
    columns: Sequence[str],
    tell: Callable[[Floats], list[object]],
    *,
    batch_size: int,
    num_workers: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row a readable file, of its path and what `tell` makes of its answers; and the others with their reasons."""
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
                answers = model.predict_pixels(np.stack([pixels for _, pixels in readable]))
                rows += [[path, *tell(row)] for (path, _), row in zip(readable, answers, strict=True)]
            report_progress("predicting files", start + len(batch), len(paths))
    return pd.DataFrame(rows, columns=list(columns)), pd.DataFrame(refused, columns=["path", "reason"])
