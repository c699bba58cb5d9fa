import numpy as np
import pandas as pd
import pytest

from regraft.evaluation.several import answers
from regraft.registry.recorded_answers import names_text, recorded_targets, target_text

TARGETS = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male.x"]},
    {"name": "p_age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 2},
    {"name": "nose", "kind": "points", "num_points": 1},
]


@pytest.fixture
def table() -> pd.DataFrame:
    """As the evaluation writes it."""
    generator = np.random.default_rng(0)
    manifest = pd.DataFrame({"target_gender": [0, 1, 1], "target_p_age": [10.0, 20.0, 30.0]})
    for name, num_points in (("face", 2), ("nose", 1)):
        for point in range(num_points):
            for axis in "xy":
                manifest[f"target_{name}.{axis}{point}"] = generator.random(3)
    table = answers.answers_table(generator.random((3, 9)), manifest, TARGETS)
    return pd.concat(
        [pd.DataFrame({"sha256": ["a", "b", "c"], "split": "test", "group": None}), table], axis=1
    )


def test_the_targets_of_the_evaluations_table_are_known_from_its_columns(table: pd.DataFrame) -> None:
    assert recorded_targets(table) == TARGETS


def test_a_table_of_one_label_has_no_targets_whatever_its_labels_are_called() -> None:
    table = pd.DataFrame({"predicted_name": ["a"], "p_a": [0.5], "p_age.true": [0.5]})
    assert recorded_targets(table) == []


def test_targets_are_told_in_words() -> None:
    assert names_text([target_text(target) for target in TARGETS]) == (
        "gender (female, male.x), p_age, 2 points of face and 1 point of nose"
    )
