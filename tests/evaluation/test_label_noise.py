import numpy as np
import pytest

from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.label_noise import describe_ceiling, measure_label_noise

BOOTSTRAP = Bootstrap(200, 0.95, 0)
SOFT = np.array([[1, 0], [0, 1], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 1], [1, 0]])
LABELS = np.array([0, 1, 0, 1, 1, 0])


def certain_of(*classes: int) -> np.ndarray:
    return np.eye(2)[list(classes)]


def test_the_ceiling_is_what_who_knows_the_probabilities_gets_on_labels_drawn_anew() -> None:
    models = {"probe": certain_of(0, 1, 1, 1, 1, 1), "fine_tuned": certain_of(0, 1, 0, 1, 1, 0)}
    found = measure_label_noise(SOFT, LABELS, models, None, BOOTSTRAP)
    assert found["ceiling"] == pytest.approx((4 + 2 * 2 / 3) / 6)
    assert found["expected"]["fine_tuned"] == pytest.approx(
        found["ceiling"]
    )  # it names the likeliest each time
    assert found["expected"]["probe"] == pytest.approx((1 + 1 + 1 / 3 + 2 / 3 + 1 + 0) / 6)
    assert (found["certain"]["num_images"], found["uncertain"]["num_images"]) == (4, 2)
    assert found["certain"]["probe"]["value"] == 0.75
    assert found["uncertain"]["probe"]["value"] == 0.5
    assert found["uncertain"]["fine_tuned"]["value"] == 1
    assert "2 of the test labels are uncertain" in describe_ceiling(found)
    assert "would agree with 88.9 % of them" in describe_ceiling(found)
    drawn = np.random.default_rng(0).random((20000, 6)) < SOFT[:, 1]
    simulated = (drawn == SOFT.argmax(axis=1)).mean()
    assert simulated == pytest.approx(found["ceiling"], abs=0.005)  # standard error 0.001


def test_where_all_labels_are_certain_there_is_no_ceiling_below_1() -> None:
    found = measure_label_noise(np.eye(2)[LABELS], LABELS, {"probe": certain_of(*LABELS)}, None, BOOTSTRAP)
    assert found["ceiling"] == 1
    assert found["uncertain"]["probe"]["value"] is None
