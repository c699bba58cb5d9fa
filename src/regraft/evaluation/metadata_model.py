"""Metadata model: what can be answered from a file's size, format and place in the listing.

Knows the manifest's columns: no pixel, no interval. Where it does nearly as well as a network, the classes were
collected differently, and the network may have learnt that.
"""

import re
from pathlib import PurePosixPath
from typing import Final

import numpy as np
import pandas as pd

from regraft.evaluation.metrics import IntArray

_NUMBERS: Final = ("width", "height", "file_bytes")
_WORDS: Final = ("mode", "format")
_MIN_IMAGES_PER_LEAF: Final = 5
_NUM_TREES: Final = 100
_MAX_IMAGES: Final = 10_000  # of train that it is fitted to: seconds, whatever the number of images


def metadata_predictions(manifest: pd.DataFrame, *, split: str, seed: int = 0) -> IntArray:
    """Answers of a small forest over the metadata, fitted to `train`.

    Args:
        manifest: A row an image: split, label, path, and those of width, height, file_bytes, mode and format
            that there are.
        split: The split to answer.
        seed: Of the model.

    Returns:
        `(N,)` int64 labels, in the order of the split's rows.

    Raises:
        ValueError: If no image is in `train`.
    """
    from sklearn.ensemble import RandomForestClassifier

    is_train = (manifest["split"] == "train").to_numpy()
    if not is_train.any():
        raise ValueError("the manifest has no image in the split 'train'; a baseline is learnt from it")
    facts = describe_files(manifest)
    labels = manifest["label"].to_numpy(np.int64)
    asked = facts[(manifest["split"] == split).to_numpy()]
    if len(np.unique(labels[is_train])) == 1 or not len(asked):
        return np.full(len(asked), labels[is_train][0], np.int64)
    rows = np.flatnonzero(is_train)
    if len(rows) > _MAX_IMAGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MAX_IMAGES, replace=False))
    model = RandomForestClassifier(_NUM_TREES, min_samples_leaf=_MIN_IMAGES_PER_LEAF, random_state=seed)
    predicted: IntArray = model.fit(facts[rows], labels[rows]).predict(asked).astype(np.int64)
    return predicted


def describe_files(manifest: pd.DataFrame) -> np.ndarray:
    """`(N, D)` float64: sizes, proportions, formats, and the place in the listing.

    The place is the rank among the file names, numbers by their value, without folders and without the label's
    own name: folders are named after the classes, and would tell them.
    """
    names = manifest["label_name"] if "label_name" in manifest else [""] * len(manifest)
    keys = [
        _natural_key(PurePosixPath(path).stem.lower().replace(str(name).lower(), ""))
        for path, name in zip(manifest["path"], names, strict=True)
    ]
    ranks = pd.Series(keys).rank(method="average").to_numpy(np.float64)
    columns = [ranks]
    columns += [np.log1p(manifest[name].to_numpy(np.float64)) for name in _NUMBERS if name in manifest]
    if {"width", "height"} <= set(manifest.columns):
        columns.append(
            np.log(manifest["width"].to_numpy(np.float64) / manifest["height"].to_numpy(np.float64))
        )
    for name in (word for word in _WORDS if word in manifest):
        columns += [(manifest[name] == value).to_numpy(np.float64) for value in sorted(set(manifest[name]))]
    return np.stack(columns, axis=1)


def _natural_key(stem: str) -> str:
    """Text that sorts `img9` before `img10`."""
    return re.sub(r"\d+", lambda number: number.group().lstrip("0").zfill(20), stem)
