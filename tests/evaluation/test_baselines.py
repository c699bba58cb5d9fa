import pandas as pd
import pytest

from regraft.evaluation import baselines


def manifest(rows: list[tuple[str, int, str | None]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["split", "label", "group"])
    return table.assign(id=range(len(rows)))


TABLE = manifest(
    [
        ("train", 0, "a"), ("train", 0, "a"), ("train", 1, "a"),
        ("train", 1, "b"), ("train", 1, "b"), ("train", 0, None),
        ("train", 0, "c"), ("train", 1, "c"), ("train", 0, None),
        ("test", 1, "a"), ("test", 1, "b"), ("test", 1, "c"), ("test", 1, "new"), ("test", 1, None),
        ("val", 1, "new"), ("val", 1, "new"),
    ]
)  # fmt: skip


def test_group_baseline_answers_the_groups_majority_else_the_overall_one() -> None:
    answer = baselines.group_majority_predictions(TABLE, split="test")
    # a: 0 of 0, 0, 1; b: 1; c: a tie, the lowest; new and none: overall 0 of five 0s and four 1s.
    assert answer.predicted.tolist() == [0, 1, 0, 0, 0]
    assert (answer.num_unseen_groups, answer.num_unseen_images) == (1, 2)


def test_baselines_learn_from_train_alone() -> None:
    assert baselines.majority_label(TABLE) == 0  # over all splits it would be 1
    assert baselines.majority_predictions(TABLE, split="test").tolist() == [0] * 5


def test_without_groups_both_baselines_are_the_same() -> None:
    table = TABLE.assign(group=None)
    answer = baselines.group_majority_predictions(table, split="test")
    assert answer.predicted.tolist() == baselines.majority_predictions(table, split="test").tolist()
    assert (answer.num_unseen_groups, answer.num_unseen_images) == (0, 5)


def test_a_manifest_without_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no image in the split 'train'"):
        baselines.majority_label(TABLE[TABLE["split"] == "test"])
