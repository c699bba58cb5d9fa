"""Pixels: every image of a manifest, decoded and fitted once, as one uint8 array in manifest order.

Where all are grey, the array has one band and a third of the bytes; whoever reads it takes both.

Knows neither where the array is stored nor what a backbone does with it.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from regraft.images.blocks import ArrayBlocks
from regraft.images.colour import stays_grey
from regraft.images.decoding import UnreadableImageError, decode, read_image_bytes
from regraft.images.faults import show_first
from regraft.images.manifest import ManifestError
from regraft.images.preprocessing import Preprocessing, apply, fit


def normalize_images(
    manifest: pd.DataFrame, preprocessing: Preprocessing, *, num_workers: int, block_rows: int
) -> ArrayBlocks:
    """Decode, turn upright, resize and fit the images of a manifest, lazily.

    Args:
        manifest: Columns `path`, `sha256`, `mode` and `read_as`; N rows.
        preprocessing: The backbone's spatial contract; S is its size.
        num_workers: Threads; the result does not depend on them.
        block_rows: Images to decode at once.

    Returns:
        `(N, S, S, 3)` uint8, row i from manifest row i; `(N, S, S, 1)` where all images are grey. Computing a
        block raises ManifestError that names every image of it whose file is gone, differs from the index, or cannot be
        fitted.

    Raises:
        ValueError: If `num_workers` or `block_rows` is below 1.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, got {num_workers}")
    paths, digests = manifest["path"].tolist(), manifest["sha256"].tolist()
    are_grey = _are_grey(manifest)
    prepare = fit if are_grey else apply
    shape = (preprocessing.size, preprocessing.size, 1 if are_grey else 3)

    def fit_image(row: int) -> np.ndarray | str:
        try:
            data = read_image_bytes(paths[row])
            if hashlib.sha256(data).hexdigest() != digests[row]:
                return f"{paths[row]}: differs from the index"
            return prepare(preprocessing, decode(data, keep_grey=True).image)
        except UnreadableImageError as error:
            return f"{paths[row]}: {error.reason}"
        except ValueError as error:
            return f"{paths[row]}: {error}"

    def compute(start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *shape), np.uint8)
        faults = []
        with ThreadPoolExecutor(num_workers) as executor:
            for row, fitted in enumerate(executor.map(fit_image, range(start, stop))):
                if isinstance(fitted, str):
                    faults.append(fitted)
                else:
                    block[row] = fitted
        if faults:
            raise ManifestError(
                f"{len(faults)} images are not as they were indexed, or do not fit: {show_first(faults)}. "
                f"Run ingest again, or put the files back."
            )
        return block

    return ArrayBlocks((len(paths), *shape), "uint8", block_rows, compute)


def _are_grey(manifest: pd.DataFrame) -> bool:
    """Whether none has colours, nor gets any by a colour profile, a gamma or what is transparent."""
    return all(map(stays_grey, manifest["mode"], manifest["read_as"]))
