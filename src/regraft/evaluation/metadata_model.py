"""Metadata model: what can be answered from a file's size, format and place in the listing.

Knows the manifest's columns: no pixel, no interval. Where it does nearly as well as a network, the classes were
collected differently, and the network may have learnt that.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.metrics import IntArray

_NUMBERS: Final = ("width", "height", "file_bytes")
_WORDS: Final = ("mode", "format")
_MIN_IMAGES_PER_LEAF: Final = 5
_NUM_TREES: Final = 100
_PART: Final = r"[^\W\d_]+|\d+"  # of a name: a word or a number
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
    labels = manifest["label"].to_numpy(np.int64)
    return metadata_answers(manifest, describe_files(manifest), labels, split=split, seed=seed)


def metadata_answers(
    manifest: pd.DataFrame, facts: NDArray[np.float64], values: NDArray[Any], *, split: str, seed: int = 0
) -> NDArray[Any]:
    """Answers of a small forest over any facts of the files, fitted to `train`.

    Args:
        manifest: A row an image: split.
        facts: `(N, D)`, as `describe_files` gives them.
        values: `(N,)` int64 labels, which a classifier tells, or `(N,)` or `(N, C)` float64, which a regressor does.
        split: The split to answer.
        seed: Of the model.

    Returns:
        `(M,)` or `(M, C)` of the dtype of the values, in the order of the split's rows.

    Raises:
        ValueError: If no image is in `train`.
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    rows = np.flatnonzero(manifest["split"] == "train")
    if not len(rows):
        raise ValueError("the manifest has no image in the split 'train'; a baseline is learnt from it")
    asked = facts[(manifest["split"] == split).to_numpy()]
    if (values[rows] == values[rows[0]]).all() or not len(asked):
        return np.repeat(values[rows[:1]], len(asked), axis=0)
    if len(rows) > _MAX_IMAGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MAX_IMAGES, replace=False))
    forest = RandomForestClassifier if values.dtype.kind == "i" else RandomForestRegressor
    model = forest(_NUM_TREES, min_samples_leaf=_MIN_IMAGES_PER_LEAF, random_state=seed)
    predicted: NDArray[Any] = model.fit(facts[rows], values[rows]).predict(asked).astype(values.dtype)
    return predicted


def describe_files(
    manifest: pd.DataFrame, told: Sequence[Sequence[str]] | None = None
) -> NDArray[np.float64]:
    """`(N, D)` float64: sizes, proportions, formats, and the place in the listing.

    The place is the rank among the file names, numbers by their value, without folders and without the label's
    own name: folders are named after the classes, and would tell them.

    Args:
        manifest: A row an image; see `metadata_predictions`.
        told: N lists of texts that the names must not tell, such as an age: their words and numbers are left out;
            None: the label's name, wherever in a name it is.
    """
    stems = [PurePosixPath(path).stem.lower() for path in manifest["path"]]
    if told is None:
        names = manifest["label_name"] if "label_name" in manifest else [""] * len(manifest)
        stems = [stem.replace(str(name).lower(), "") for stem, name in zip(stems, names, strict=True)]
    else:
        stems = [_without(stem, words) for stem, words in zip(stems, told, strict=True)]
    ranks = pd.Series([_natural_key(stem) for stem in stems]).rank(method="average").to_numpy(np.float64)
    columns = [ranks]
    columns += [np.log1p(manifest[name].to_numpy(np.float64)) for name in _NUMBERS if name in manifest]
    if {"width", "height"} <= set(manifest.columns):
        columns.append(
            np.log(manifest["width"].to_numpy(np.float64) / manifest["height"].to_numpy(np.float64))
        )
    for name in (word for word in _WORDS if word in manifest):
        columns += [(manifest[name] == value).to_numpy(np.float64) for value in sorted(set(manifest[name]))]
    return np.stack(columns, axis=1)


def _without(stem: str, texts: Sequence[str]) -> str:
    """The stem without the words and numbers of the texts, `025` being 25."""
    left_out = {_bare(part) for text in texts for part in re.findall(_PART, text.lower())}
    return re.sub(_PART, lambda part: "" if _bare(part.group()) in left_out else part.group(), stem)


def _bare(part: str) -> str:
    return part.lstrip("0") or "0"


def _natural_key(stem: str) -> str:
    """Text that sorts `img9` before `img10`."""
    return re.sub(r"\d+", lambda number: number.group().lstrip("0").zfill(20), stem)
