"""The table of predictions, checked and taken apart into arrays.

Knows the columns of predictions and manifest: no metric, no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from regraft.evaluation.metrics import FloatArray, IntArray, predicted_labels

MODELS = ("probe", "fine_tuned")
MODEL_TITLES = {"probe": "probe", "fine_tuned": "fine-tuned"}
BASELINE_TITLES = {
    "majority_class": "most frequent class",
    "group_majority": "majority of the image's group",
    "metadata": "model of the files' metadata",
}
SPLITS = ("val", "test")

_COLUMNS = ("id", "sha256", "path", "split", "label", "label_name", "group", "model")


class PredictionsError(ValueError):
    """A table of predictions that cannot be measured: all its faults."""


@dataclass(frozen=True)
class SplitScores:
    """What both models say of the images of one split, in the order of their ids.

    Attributes:
        ids: `(N,)` int64.
        labels: `(N,)` int64 in [0, K).
        groups: N group names, None where an image has none.
        probabilities: `(N, K)` float64 by model, rows sum to 1.
    """

    ids: IntArray
    labels: IntArray
    groups: tuple[str | None, ...]
    probabilities: dict[str, FloatArray]


def probability_columns(label_names: Sequence[str]) -> list[str]:
    """The columns of predictions that hold the probabilities, in the order of the classes."""
    return [f"p_{name}" for name in label_names]


def scores_of_split(predictions: pd.DataFrame, split: str, label_names: Sequence[str]) -> SplitScores:
    """Take the rows of one split apart.

    Args:
        predictions: A row an image and model, as `check_predictions` asks.
        split: `val` or `test`.
        label_names: K names, in the order of the classes.

    Returns:
        The arrays of both models, sorted by id.
    """
    rows = predictions[predictions["split"] == split].sort_values("id", kind="stable")
    of_model = {model: rows[rows["model"] == model] for model in MODELS}
    images = of_model[MODELS[0]]
    columns = probability_columns(label_names)
    return SplitScores(
        ids=images["id"].to_numpy(np.int64),
        labels=images["label"].to_numpy(np.int64),
        groups=group_names(images["group"]),
        probabilities={model: table[columns].to_numpy(np.float64) for model, table in of_model.items()},
    )


def group_names(column: pd.Series) -> tuple[str | None, ...]:
    """The values of a group column as text, None where there is none."""
    return tuple(None if pd.isna(value) else str(value) for value in column)


def check_predictions(predictions: pd.DataFrame, manifest: pd.DataFrame, label_names: Sequence[str]) -> None:
    """Make sure that each model has answered each image of `val` and `test` once, and no other.

    Args:
        predictions: A row an image and model: id, sha256, path, split, label, label_name, group, model,
            predicted, predicted_name, and the probability p_<label name> of each class.
        manifest: A row an image: id, split, label, group.
        label_names: K names, in the order of the classes.

    Raises:
        PredictionsError: With all faults.
    """
    needed = ["predicted", "predicted_name", *probability_columns(label_names)]
    faults = find_unanswered(predictions, manifest, needed)
    probabilities = predictions[probability_columns(label_names)].to_numpy(np.float64)
    num_other = int((predicted_labels(probabilities) != predictions["predicted"].to_numpy()).sum())
    if num_other:
        faults.append(f"{num_other} rows predict another class than their most probable one")
    names = dict(enumerate(label_names))
    for column in ("label", "predicted"):
        num_other = int((predictions[column].map(names) != predictions[f"{column}_name"]).sum())
        if num_other:
            faults.append(f"{num_other} rows have a {column}_name that is not the name of their {column}")
    if faults:
        raise PredictionsError("; ".join(faults))


def find_unanswered(predictions: pd.DataFrame, manifest: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """What is wrong with who has answered which images, whatever the answers are.

    Args:
        predictions: A row an image and model.
        manifest: As in `check_predictions`.
        columns: What predictions must have beside the columns that name image and model.

    Returns:
        Sentences, none if each model has answered each image of `val` and `test` once, and no other.

    Raises:
        PredictionsError: If columns are missing.
    """
    needed = [*_COLUMNS, *columns]
    missing = [column for column in needed if column not in predictions.columns]
    if missing:
        raise PredictionsError(
            f"predictions lack the columns {', '.join(missing)}; they have {list(predictions)}"
        )
    faults = [
        f"{model!r} is not a model of this table; allowed are {', '.join(MODELS)}"
        for model in sorted(set(predictions["model"]) - set(MODELS))
    ]
    for split in SPLITS:
        images = manifest[manifest["split"] == split].set_index("id")
        if images.empty:
            faults.append(f"the manifest has no image in the split {split!r}")
        for model in MODELS:
            rows = predictions[(predictions["split"] == split) & (predictions["model"] == model)]
            faults += _faults_of(rows, images, f"{model} on {split}")
    return faults


def _faults_of(rows: pd.DataFrame, images: pd.DataFrame, where: str) -> list[str]:
    """What is wrong with one model's answers to one split."""
    ids = rows["id"]
    faults = []
    if ids.duplicated().any():
        faults.append(f"{where}: {int(ids.duplicated().sum())} images are predicted twice")
    num_missing = int((~images.index.isin(ids)).sum())
    num_unknown = int((~ids.isin(images.index)).sum())
    if num_missing:
        faults.append(f"{where}: {num_missing} of {len(images)} images of the manifest have no prediction")
    if num_unknown:
        faults.append(f"{where}: {num_unknown} predicted images are not in the manifest's split")
    known = rows[ids.isin(images.index)]
    num_other = int((images.loc[known["id"], "label"].to_numpy() != known["label"].to_numpy()).sum())
    if num_other:
        faults.append(f"{where}: {num_other} images have another label than in the manifest")
    return faults
