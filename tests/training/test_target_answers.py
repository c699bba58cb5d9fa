"""Answers to several targets as columns and as arrays."""

import numpy as np
import pandas as pd
import pytest

from regraft.evaluation.several.answers import answers_table, take_apart
from regraft.training.target_answers import (
    answers_by_target,
    headline_scores,
    said_columns,
    said_values,
    true_by_target,
    true_columns,
    true_values,
)

TARGETS = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male.x"]},
    {"name": "p_age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 2},
]
ANSWERS = np.array([[0.25, 0.75, 31.0, 0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 9.0, 0.5, 0.6, 0.7, 0.8]])
MANIFEST = pd.DataFrame(
    {
        "target_gender": [0, 1],
        "target_p_age": [30.0, 10.0],
        "target_face.x0": [0.1, 0.5],
        "target_face.y0": [0.2, 0.6],
        "target_face.x1": [0.6, 0.7],
        "target_face.y1": [0.8, 0.8],
    }
)


def test_columns_are_called_by_target_and_place() -> None:
    assert [column for target in TARGETS for column in said_columns(target)] == [
        "gender.p_female",
        "gender.p_male.x",
        "p_age.predicted",
        *(f"face.predicted_{place}" for place in ("x0", "y0", "x1", "y1")),
    ]
    assert true_columns(TARGETS[2]) == [f"face.true_{place}" for place in ("x0", "y0", "x1", "y1")]


def test_a_table_says_what_the_manifest_and_the_answers_say() -> None:
    table = answers_table(ANSWERS, MANIFEST, TARGETS)
    table = table.assign(split="test", model="probe", id=range(2), group=None)
    apart = take_apart(table, "test", TARGETS, models=["probe"])
    true, said = true_by_target(MANIFEST, TARGETS), answers_by_target(ANSWERS, TARGETS)
    assert true["gender"].tolist() == [0, 1]
    assert said["face"].tolist() == [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.6], [0.7, 0.8]]]
    for target in TARGETS:
        name = str(target["name"])
        for found in (true_values(table, target), apart.true[name]):
            np.testing.assert_array_equal(found, true[name])
            assert found.dtype == true[name].dtype
        for answered in (said_values(table, target), apart.said["probe"][name]):
            np.testing.assert_array_equal(answered, said[name])


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0, [0.0, 0.0]), (1, [1.0, 1.0]), (2, [0.25, 0.0])],
    ids=["classes", "number", "points"],
)
def test_the_headline_metric_is_the_mean_of_its_scores(target: int, expected: list[float]) -> None:
    name, kind = (str(TARGETS[target][key]) for key in ("name", "kind"))
    true, said = true_by_target(MANIFEST, TARGETS)[name], answers_by_target(ANSWERS, TARGETS)[name]
    assert headline_scores(true, said, kind).tolist() == pytest.approx(expected)
