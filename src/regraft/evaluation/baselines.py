"""What can be had without looking at a pixel: the answers a model has to beat.

Knows the manifest's split, label and group columns, and values of any kind: no model, no interval.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.metrics import IntArray

Summary = Callable[[NDArray[Any]], Any]  # of `(N, …)` values, N > 0, to one answer for all of them


@dataclass(frozen=True)
class GroupAnswers:
    """Answers of the group baseline.

    Attributes:
        predicted: `(N, …)` answers, int64 labels where labels are asked for.
        num_unseen_groups: Groups that `train` does not have; their images get the overall answer.
        num_unseen_images: Images of such groups, or without a group.
    """

    predicted: NDArray[Any]
    num_unseen_groups: int
    num_unseen_images: int


def majority(labels: IntArray) -> int:
    """The most frequent of `(N,)` labels, the lowest of equals."""
    return int(np.bincount(labels).argmax())


def majority_label(manifest: pd.DataFrame) -> int:
    """The most frequent label of `train`, the lowest of equals.

    Args:
        manifest: A row an image: split, label.

    Raises:
        ValueError: If no image is in `train`.
    """
    return int(constant_answer(manifest, _labels(manifest), summary=majority))


def majority_predictions(manifest: pd.DataFrame, *, split: str) -> IntArray:
    """`(N,)` int64: the majority label of `train`, for every image of the split."""
    return np.full(int((manifest["split"] == split).sum()), majority_label(manifest), dtype=np.int64)


def group_majority_predictions(manifest: pd.DataFrame, *, split: str) -> GroupAnswers:
    """For every image of the split, the majority label that its group has in `train`; see `group_answers`."""
    return group_answers(manifest, _labels(manifest), split=split, summary=majority)


def constant_answer(manifest: pd.DataFrame, values: NDArray[Any], *, summary: Summary) -> Any:
    """The summary of the values of `train`.

    Args:
        manifest: A row an image: split.
        values: `(N, …)`, rows as in the manifest.
        summary: What one answer is made by.

    Raises:
        ValueError: If no image is in `train`.
    """
    of_train = values[(manifest["split"] == "train").to_numpy()]
    if not len(of_train):
        raise ValueError("the manifest has no image in the split 'train'; a baseline is learnt from it")
    return summary(of_train)


def group_answers(
    manifest: pd.DataFrame, values: NDArray[Any], *, split: str, summary: Summary
) -> GroupAnswers:
    """For every image of the split, the summary of the values that its group has in `train`.

    This is what a model can score by recognising where an image comes from (a module, a patient, a camera)
    instead of what it shows.

    Args:
        manifest: A row an image: split, group; sorted by id for the order of the answers.
        values: `(N, …)`, rows as in the manifest.
        split: The split to answer.
        summary: What one answer is made by.

    Returns:
        The answers, in the order of the split's rows in the manifest; the summary of all of `train` where `train`
        has no image of the group.

    Raises:
        ValueError: If no image is in `train`.
    """
    overall = constant_answer(manifest, values, summary=summary)
    table = manifest.reset_index(drop=True)
    train = table[table["split"] == "train"].dropna(subset="group")
    rows = train.index.to_numpy()
    of_group = {
        group: summary(values[rows[places]]) for group, places in train.groupby("group").indices.items()
    }
    groups = table.loc[table["split"] == split, "group"]
    is_seen = groups.isin(list(of_group))
    answers = [of_group.get(group, overall) for group in groups]
    return GroupAnswers(
        predicted=np.array(answers, dtype=values.dtype).reshape(len(groups), *values.shape[1:]),
        num_unseen_groups=int(groups[~is_seen].nunique()),
        num_unseen_images=int((~is_seen).sum()),
    )


def _labels(manifest: pd.DataFrame) -> IntArray:
    return manifest["label"].to_numpy(np.int64)
