"""Scores by labels: log-loss, accuracy, and the temperature that takes back what a classifier is too sure of."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.metrics import log_loss as sklearn_log_loss

from regraft.training.scoring import (
    HOTTEST,
    cost_of,
    fit_temperature,
    image_costs,
    log_losses,
    score,
    softened,
)

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (3000, 3))
LABELS = np.array([GENERATOR.choice(3, p=row) for row in softmax(LOGITS, axis=1)])
EVENLY = np.ones(len(LABELS))
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.mark.parametrize("temperature", [1.5, 4.0])
def test_labels_drawn_from_logits_give_back_by_what_these_were_multiplied(temperature: float) -> None:
    too_sure = softmax(LOGITS * temperature, axis=1)
    found = fit_temperature(too_sure, LABELS, EVENLY)
    assert found == pytest.approx(temperature, rel=0.05)
    assert found == round(found, 3)
    np.testing.assert_allclose(softened(too_sure, temperature), softmax(LOGITS, axis=1), atol=1e-12)


def test_two_columns_of_a_sigmoid_are_its_logit_divided() -> None:
    logits = np.linspace(-9, 9, 50)
    positive = expit(logits)
    softer = softened(np.stack([1 - positive, positive], axis=1), 3.0)
    np.testing.assert_allclose(logit(softer[:, 1]), logits / 3, atol=1e-9)


def test_a_classifier_that_is_not_too_sure_is_left_as_it_is() -> None:
    shy = softmax(LOGITS / 2, axis=1)
    assert fit_temperature(shy, LABELS, EVENLY) == 1
    assert softened(shy, 1.0) is shy


def test_one_mistake_in_full_confidence_costs_finitely_much() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert np.isfinite(log_losses(sure, np.array([0, 1]))).all()
    assert np.isfinite(softened(sure, 2.0)).all()
    nearly = np.array([[1 - 1e-9, 1e-9]] * 2)
    assert fit_temperature(nearly, np.array([0, 1]), np.ones(2)) == HOTTEST


def test_no_other_temperature_has_less_log_loss() -> None:
    too_sure = softmax(LOGITS[:60] * 2.5, axis=1)
    weights = np.linspace(0.2, 1.8, 60)
    found = fit_temperature(too_sure, LABELS[:60], weights)

    def cost(temperature: float) -> float:
        return sklearn_log_loss(LABELS[:60], softened(too_sure, temperature), sample_weight=weights)

    assert 1.1 < found < 9
    assert cost(found) <= min(cost(other) for other in np.linspace(1, 10, 2000)) + 1e-7


def test_scores_are_those_of_scikit_learn_weighted() -> None:
    probabilities, labels = softmax(LOGITS[:40] * 3, axis=1), LABELS[:40]
    weights = np.linspace(0.5, 1.5, 40)
    row = score(probabilities, labels, weights)
    assert row["val_log_loss"] == pytest.approx(
        sklearn_log_loss(labels, probabilities, sample_weight=weights)
    )
    assert row["val_accuracy"] == pytest.approx(
        np.average(probabilities.argmax(axis=1) == labels, weights=weights)
    )
    assert row["val_calibrated_log_loss"] < row["val_log_loss"]
    softer = softened(probabilities, fit_temperature(probabilities, labels, weights))
    assert row["val_calibrated_log_loss"] == pytest.approx(
        sklearn_log_loss(labels, softer, sample_weight=weights)
    )


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "calibrated_log_loss"])
def test_the_costs_of_images_have_the_mean_that_is_chosen_by(metric: str) -> None:
    probabilities, labels = softmax(LOGITS[:40] * 3, axis=1), LABELS[:40]
    weights = np.linspace(0.5, 1.5, 40)
    costs = image_costs(probabilities, labels, weights, metric=metric)  # type: ignore[arg-type]
    expected = cost_of(score(probabilities, labels, weights), metric)  # type: ignore[arg-type]
    assert costs.mean() == pytest.approx(expected + (metric == "accuracy"))


def test_of_two_that_tell_classes_apart_the_better_is_the_one_that_is_too_sure() -> None:
    """By log-loss alone the worse one would be chosen."""
    sharp, dull = (
        softmax(LOGITS * 4, axis=1),
        softmax(LOGITS + GENERATOR.normal(0, 1.5, LOGITS.shape), axis=1),
    )
    better, worse = score(sharp, LABELS, EVENLY), score(dull, LABELS, EVENLY)
    assert better["val_log_loss"] > worse["val_log_loss"]
    assert better["val_calibrated_log_loss"] < worse["val_calibrated_log_loss"]
