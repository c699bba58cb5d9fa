"""The table of predictions where several targets are learnt: its columns, its making, its taking apart.

A column of a target is called `<target>.<what>`: of classes `true`, `true_name`, `predicted`, `predicted_name` and a
probability `p_<label>` each; of a number `true` and `predicted`; of points `true_x0`, `true_y0` and so on, likewise
`predicted_x0`. Knows no metric, no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.predictions import MODELS, group_names
from regraft.images.target_columns import label_array, manifest_columns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Target = Mapping[str, Any]  # as `describe_targets` describes it


def true_columns(target: Target) -> list[str]:
    """Columns of what is true: one, or two a point."""
    return _columns(target, "true")


def predicted_columns(target: Target) -> list[str]:
    """Columns of what a model says: the probability of each class, a number, or two a point."""
    if target["kind"] == "classes":
        return [f"{target['name']}.p_{label}" for label in target["label_names"]]
    return _columns(target, "predicted")


def _columns(target: Target, what: str) -> list[str]:
    name = f"{target['name']}.{what}"
    if target["kind"] != "points":
        return [name]
    return [f"{name}_{axis}{point}" for point in range(target["num_points"]) for axis in "xy"]


def answers_table(answers: Floats, images: pd.DataFrame, targets: Sequence[Target]) -> pd.DataFrame:
    """Columns of all targets, a row an image.

    Args:
        answers: `(N, A)`, as `SeveralTargets.answers` has them.
        images: N rows of the manifest.
        targets: In the order of the answers.
    """
    columns: dict[str, Any] = {}
    start = 0
    for target in targets:
        said = predicted_columns(target)
        of_target = answers[:, start : start + len(said)]
        start += len(said)
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
        columns |= dict(zip(said, of_target.T, strict=True))
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class SeveralScores:
    """What both models say of the images of one split, in the order of their ids.

    Attributes:
        ids: `(N,)` int64.
        groups: N group names, None where an image has none.
        true: By target `(N,)` int64 numbers of classes, `(N,)` float64 numbers, or `(N, P, 2)` float64 points as
            fractions of width and height.
        said: By model and target `(N, K)` float64 probabilities, `(N,)` float64, or `(N, P, 2)` float64.
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
        true={
            target["name"]: _array(images, target, true_columns(target), is_true=True) for target in targets
        },
        said={
            model: {
                target["name"]: _array(table, target, predicted_columns(target), is_true=False)
                for target in targets
            }
            for model, table in of_model.items()
        },
    )


def true_by_target(images: pd.DataFrame, targets: Sequence[Target]) -> dict[str, NDArray[Any]]:
    """What is true of rows of the manifest, as `SeveralScores.true` has it."""
    found: dict[str, NDArray[Any]] = {}
    for target in targets:
        values = label_array(images, [target])
        if target["kind"] == "classes":
            found[target["name"]] = values[:, 0].astype(np.int64)
        else:
            is_number = target["kind"] == "number"
            found[target["name"]] = values[:, 0] if is_number else values.reshape(len(values), -1, 2)
    return found


def answers_by_target(answers: Floats, targets: Sequence[Target]) -> dict[str, Floats]:
    """Answers `(N, A)` in the layout of `SeveralTargets.answers`, as `SeveralScores.said` of one model has them."""
    found: dict[str, Floats] = {}
    start = 0
    for target in targets:
        width = len(predicted_columns(target))
        said = answers[:, start : start + width]
        start += width
        if target["kind"] == "number":
            said = said[:, 0]
        found[target["name"]] = said.reshape(len(said), -1, 2) if target["kind"] == "points" else said
    return found


def _array(table: pd.DataFrame, target: Target, columns: Sequence[str], *, is_true: bool) -> NDArray[Any]:
    if target["kind"] == "classes":
        return table[columns[0]].to_numpy(np.int64) if is_true else table[list(columns)].to_numpy(np.float64)
    values = table[list(columns)].to_numpy(np.float64)
    return values[:, 0] if target["kind"] == "number" else values.reshape(len(values), -1, 2)
