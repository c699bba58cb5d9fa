"""What can be had without looking at a pixel: the answers a model has to beat.

Knows the manifest's split, label and group columns: no model, no interval.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from regraft.evaluation.metrics import IntArray


@dataclass(frozen=True)
class GroupMajority:
    """Answers of the group baseline.

    Attributes:
        predicted: `(N,)` int64 labels.
        num_unseen_groups: Groups that `train` does not have; their images get the overall majority.
        num_unseen_images: Images of such groups, or without a group.
    """

    predicted: IntArray
    num_unseen_groups: int
    num_unseen_images: int


def majority_label(manifest: pd.DataFrame) -> int:
    """The most frequent label of `train`, the lowest of equals.

    Args:
        manifest: A row an image: split, label.

    Raises:
        ValueError: If no image is in `train`.
    """
    labels = manifest.loc[manifest["split"] == "train", "label"]
    if labels.empty:
        raise ValueError("the manifest has no image in the split 'train'; a baseline is learnt from it")
    return _majority(labels)


def majority_predictions(manifest: pd.DataFrame, *, split: str) -> IntArray:
    """`(N,)` int64: the majority label of `train`, for every image of the split."""
    return np.full(int((manifest["split"] == split).sum()), majority_label(manifest), dtype=np.int64)


def group_majority_predictions(manifest: pd.DataFrame, *, split: str) -> GroupMajority:
    """For every image of the split, the majority label that its group has in `train`.

    This is what a model can score by recognising where an image comes from (a module, a patient, a camera)
    instead of what it shows.

    Args:
        manifest: A row an image: id, split, label, group; sorted by id for the order of the answers.
        split: The split to answer.

    Returns:
        The answers, in the order of the split's rows in the manifest.

    Raises:
        ValueError: If no image is in `train`.
    """
    overall = majority_label(manifest)
    train = manifest[manifest["split"] == "train"].dropna(subset="group")
    of_group = {group: _majority(labels) for group, labels in train.groupby("group")["label"]}
    groups = manifest.loc[manifest["split"] == split, "group"]
    is_seen = groups.isin(list(of_group))
    return GroupMajority(
        predicted=np.array([of_group.get(group, overall) for group in groups], dtype=np.int64),
        num_unseen_groups=int(groups[~is_seen].nunique()),
        num_unseen_images=int((~is_seen).sum()),
    )


def _majority(labels: pd.Series) -> int:
    """The most frequent value, the lowest of equals."""
    return int(labels.mode().iloc[0])  # mode() is sorted
