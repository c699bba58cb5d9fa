"""What a model learns of an image's class: its label, or the probability of each class; and what the image counts.

Knows the manifest as a table: no model, no pixels. `val` and `test` are measured against labels whatever is learnt.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.images.soft_labels import WEIGHT, soft_labels
from regraft.training.balance import Floats

LearnFrom = Literal["labels", "probabilities", "both"]


def learnt_probabilities(
    images: pd.DataFrame, column: str, label_names: Sequence[str], learn_from: LearnFrom
) -> Floats | None:
    """`(N, K)` float64 class probabilities to learn, rows sum to 1; None where the labels are learnt.

    Args:
        images: Rows of the manifest.
        column: Of the labels' numbers.
        label_names: K names, in the order of the classes.
        learn_from: The probabilities of the source, or with `both` the mean of them and of 1 for the label.

    Raises:
        ValueError: If the source gives none.
    """
    if learn_from == "labels":
        return None
    probabilities = soft_labels(images, label_names)
    if probabilities is None:
        raise ValueError(
            f"train_head.learn_from is {learn_from!r}, but the source gives no probabilities: name their columns in "
            "ingest.source.probability_columns (a csv), or set train_head.learn_from to 'labels'"
        )
    if learn_from == "probabilities":
        return probabilities
    labels: Floats = np.eye(len(label_names))[images[column].to_numpy(np.int64)]
    return (probabilities + labels) / 2


def given_weights(images: pd.DataFrame) -> Floats:
    """`(N,)` float64, mean 1: what the source says each image counts; all 1 where it says nothing.

    Raises:
        ValueError: If all of these are 0.
    """
    weights = images[WEIGHT].to_numpy(np.float64) if WEIGHT in images else np.ones(len(images))
    if not weights.sum():
        raise ValueError(
            "all training images have the weight 0 (ingest.source.weight_column): nothing to learn"
        )
    normalised: Floats = weights / weights.mean()
    return normalised


def loss_targets(probabilities: Floats) -> NDArray[np.float32]:
    """What the loss of a target takes for class probabilities: `(N,)` of the second class for two, else `(N, K)`."""
    targets = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
    return np.ascontiguousarray(targets, np.float32)
