"""Metrics of several targets against scikit-learn, numpy and numbers by hand."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from regraft.evaluation.several import scores
from regraft.evaluation.several.answers import take_apart
from regraft.training.target_answers import headline_metric

NUMBER = {"name": "age", "kind": "number"}
POINTS = {"name": "face", "kind": "points", "num_points": 2}


def test_values_equal_scikit_learn(several: Any) -> None:
    test = take_apart(several.predictions, "test", several.targets)
    true, said = test.true["age"], test.said["probe"]["age"]
    found = scores.measure_target(NUMBER, true, said)
    expected = {
        "mean_absolute_error": sklearn_metrics.mean_absolute_error(true, said),
        "root_mean_squared_error": sklearn_metrics.root_mean_squared_error(true, said),
        "r2": sklearn_metrics.r2_score(true, said),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    gender = scores.measure_target(several.targets[0], test.true["gender"], test.said["probe"]["gender"])
    expected_loss = sklearn_metrics.log_loss(test.true["gender"], test.said["probe"]["gender"])
    assert gender["log_loss"].value == pytest.approx(expected_loss)


@pytest.mark.parametrize("place", range(3))
def test_resampled_values_equal_scikit_learn_on_the_images_drawn(several: Any, place: int) -> None:
    test = take_apart(several.predictions, "test", several.targets)
    true, said = test.true["age"], test.said["fine_tuned"]["age"]
    drawn = np.random.default_rng(place).integers(0, len(true), len(true))
    weights = np.bincount(drawn, minlength=len(true)).astype(np.float64)[:, None]
    found = scores.measure_target(NUMBER, true, said)
    assert found["r2"].of_weights(weights)[0] == pytest.approx(
        sklearn_metrics.r2_score(true[drawn], said[drawn])
    )
    assert found["root_mean_squared_error"].of_weights(weights)[0] == pytest.approx(
        sklearn_metrics.root_mean_squared_error(true[drawn], said[drawn])
    )


def test_points_are_as_far_off_as_a_ruler_says() -> None:
    true = np.zeros((2, 2, 2))
    said = np.array([[[0.03, 0.04], [0.0, 0.0]], [[0.3, 0.4], [0.0, 0.01]]])
    found = scores.measure_target(POINTS, true, said)
    assert found["mean_distance"].value == pytest.approx((0.05 + 0 + 0.5 + 0.01) / 4)
    near = np.array([[[0.03, 0.039], [0.0, 0.0]], [[0.3, 0.4], [0.0, 0.01]]])
    assert scores.measure_target(POINTS, true, near)["found_within_5_percent"].value == 0.75


def test_equal_numbers_explain_nothing_alone_or_in_a_resample() -> None:
    true, said = np.array([0.1, 0.1, 0.7]), np.array([0.2, 0.1, 0.5])
    function = scores.measure_target(NUMBER, true, said)["r2"].of_weights
    resamples = np.array([[3.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0], [1.0, 1.0, 1.0]]).T
    found = function(resamples)
    assert np.isnan(found[:3]).all()
    assert found[3] == pytest.approx(sklearn_metrics.r2_score(true, said))
    assert np.isnan(scores.measure_target(NUMBER, np.full(5, 0.1), np.arange(5.0))["r2"].value)


def test_a_joint_loss_is_the_sum_of_what_each_target_costs() -> None:
    targets = [{"name": "sex", "kind": "classes", "label_names": ["f", "m"]}, NUMBER, POINTS]
    true = {"sex": np.array([0, 1]), "age": np.array([10.0, 20.0]), "face": np.zeros((2, 2, 2))}
    said = {
        "sex": np.array([[0.5, 0.5], [0.75, 0.25]]),
        "age": np.array([12.0, 20.0]),
        "face": np.full((2, 2, 2), 0.1),
    }
    units = scores.loss_units(true, said, targets)
    assert units == pytest.approx({"age": 2.0, "face": 0.01})
    found = scores.measure_targets(true, said, targets, units)
    # two classes: ln 2 and ln 4; the errors of age: 4 / (2 · 2) and 0; of each point: 0.01 / (2 · 0.01)
    by_hand = (np.log(2) + 1 + 0.5 + np.log(4) + 0 + 0.5) / 2
    assert found["joint_loss"].value == pytest.approx(by_hand)
    assert found["sex.accuracy"].value == 0.5


def test_facts_are_known_of_every_metric_whatever_its_target_is_called() -> None:
    assert scores.facts_of("accuracy").is_fraction
    assert scores.facts_of("sex.accuracy") == scores.facts_of("accuracy")
    assert scores.facts_of("accuracy.mean_absolute_error").has_unit
    assert not scores.facts_of("joint_loss").higher_is_better
    assert [headline_metric(one) for one in (NUMBER, POINTS)] == [
        "age.mean_absolute_error",
        "face.mean_distance",
    ]
