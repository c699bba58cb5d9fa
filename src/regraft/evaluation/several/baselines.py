"""What can be said of several targets without looking at a pixel: one answer for all, the group's, the files'.

Knows the manifest: no model, no interval.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.baselines import Summary, constant_answer, group_answers, majority
from regraft.evaluation.metadata_model import describe_files, metadata_answers
from regraft.training.target_answers import Floats, Target, true_by_target

BASELINES: Final = ("constant", "group", "metadata")


def _mean_shape(points: Floats) -> Floats:
    mean: Floats = points.mean(axis=0)
    return mean


_SUMMARIES: Final[dict[str, Summary]] = {"classes": majority, "number": np.median, "points": _mean_shape}


def baseline_answers(
    manifest: pd.DataFrame, targets: Sequence[Target], *, split: str
) -> dict[str, dict[str, Floats]]:
    """Answers learnt from `train` alone.

    Args:
        manifest: A row an image: split, group, path, the columns of the targets, and what `describe_files` takes.
        targets: What is to be told.
        split: The split to answer.

    Returns:
        By baseline and target, shaped as `SeveralScores.said`: `constant` (the most frequent class, the median of a
        number, the mean of points), `group` (the same of the image's group, where there are groups) and `metadata` (a
        forest over what the files are like, without the words in their names that tell a target).

    Raises:
        ValueError: If no image is in `train`.
    """
    true = true_by_target(manifest, targets)
    facts = describe_files(manifest, _told(true, targets, len(manifest)))
    num_asked = int((manifest["split"] == split).sum())
    found: dict[str, dict[str, Floats]] = {baseline: {} for baseline in BASELINES}
    for target in targets:
        name, values, summary = target["name"], true[target["name"]], _SUMMARIES[target["kind"]]
        one = np.asarray(constant_answer(manifest, values, summary=summary))
        found["constant"][name] = _as_said(np.stack([one] * num_asked), target)
        of_group = group_answers(manifest, values, split=split, summary=summary)
        found["group"][name] = _as_said(of_group.predicted, target)
        flat = values.reshape(len(values), -1) if target["kind"] == "points" else values
        of_files = metadata_answers(manifest, facts, flat, split=split)
        found["metadata"][name] = _as_said(of_files.reshape(num_asked, *values.shape[1:]), target)
    if manifest["group"].isna().all():
        del found["group"]
    return found


def _as_said(answers: NDArray[Any], target: Target) -> Floats:
    """Certain probabilities of classes; numbers and points as they are."""
    if target["kind"] != "classes":
        return answers.astype(np.float64)
    certain: Floats = np.eye(len(target["label_names"]))[answers.astype(np.int64)]
    return certain


def _told(true: Mapping[str, NDArray[Any]], targets: Sequence[Target], num_images: int) -> list[list[str]]:
    """Of each image the names of its classes, and its numbers as text."""
    texts = []
    for target in targets:
        values = true[target["name"]]
        if target["kind"] == "classes":
            texts.append([target["label_names"][value] for value in values])
        if target["kind"] == "number":
            texts.append([f"{value:g}" for value in values])
    return [list(of_image) for of_image in zip(*texts, strict=True)] or [[]] * num_images
