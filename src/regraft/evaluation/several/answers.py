"""The table of predictions where several targets are learnt: its making, and its taking apart by split and model.

Its columns are those of `training.target_answers`. Knows no metric, no figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.predictions import MODELS, group_names
from regraft.images.target_columns import manifest_columns
from regraft.training.target_answers import (
    Floats,
    Target,
    answers_by_target,
    said_columns,
    said_values,
    true_columns,
    true_values,
)

Ints = NDArray[np.int64]


def answers_table(answers: Floats, images: pd.DataFrame, targets: Sequence[Target]) -> pd.DataFrame:
    """Columns of all targets, a row an image.

    Args:
        answers: `(N, A)`, as `SeveralTargets.answers` has them.
        images: N rows of the manifest.
        targets: In the order of the answers.
    """
    columns: dict[str, Any] = {}
    said = answers_by_target(answers, targets)
    for target in targets:
        of_target = said[target["name"]].reshape(len(images), -1)
        true = zip(true_columns(target), manifest_columns(target), strict=True)
        columns |= {name: images[source].to_numpy() for name, source in true}
        if target["kind"] == "classes":
            name, predicted = target["name"], of_target.argmax(axis=1)
            labels = np.array(target["label_names"], dtype=object)
            columns |= {
                f"{name}.true_name": labels[images[manifest_columns(target)[0]].to_numpy(np.int64)],
                f"{name}.predicted": predicted,
                f"{name}.predicted_name": labels[predicted],
            }
        columns |= dict(zip(said_columns(target), of_target.T, strict=True))
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class SeveralScores:
    """What both models say of the images of one split, in the order of their ids.

    Attributes:
        ids: `(N,)` int64.
        groups: N group names, None where an image has none.
        true: By target, as `target_answers` says.
        said: By model and target, likewise.
    """

    ids: Ints
    groups: tuple[str | None, ...]
    true: dict[str, NDArray[Any]]
    said: dict[str, dict[str, Floats]]


def take_apart(
    predictions: pd.DataFrame, split: str, targets: Sequence[Target], *, models: Sequence[str] = MODELS
) -> SeveralScores:
    """The rows of one split as arrays, sorted by id.

    Args:
        predictions: A row an image and model.
        split: `val` or `test`.
        targets: What was learnt.
        models: Whose rows.
    """
    rows = predictions[predictions["split"] == split].sort_values("id", kind="stable")
    of_model = {model: rows[rows["model"] == model] for model in models}
    images = of_model[models[0]]
    return SeveralScores(
        ids=images["id"].to_numpy(np.int64),
        groups=group_names(images["group"]),
        true={target["name"]: true_values(images, target) for target in targets},
        said={
            model: {target["name"]: said_values(table, target) for target in targets}
            for model, table in of_model.items()
        },
    )
