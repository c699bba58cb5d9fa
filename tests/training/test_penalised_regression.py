"""Loss and gradient of the penalised regression that probes solve."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from regraft.training.penalised_regression import PenalisedRegression, log_softmax


@pytest.mark.parametrize("num_classes", [2, 4])
def test_gradient_is_that_of_the_objective(num_classes: int) -> None:
    generator = np.random.default_rng(0)
    features, labels = generator.normal(size=(20, 3)), np.arange(20) % num_classes
    weights = np.linspace(0.5, 1.5, len(labels))
    problem = PenalisedRegression(features, np.eye(num_classes)[labels], weights, 0.3)
    shape = (1 if num_classes == 2 else num_classes, 4)
    point = generator.normal(size=shape)
    numeric = approx_fprime(point.ravel(), lambda flat: problem.objective(flat.reshape(shape))[0], 1e-7)
    # 1e-5: forward differences
    np.testing.assert_allclose(problem.objective(point)[1], numeric, rtol=0, atol=1e-5)


def test_objective_by_hand() -> None:
    problem = PenalisedRegression(np.array([[1.0], [-1.0]]), np.eye(2)[[1, 1]], np.ones(2), 0.5)
    loss, gradient = problem.objective(np.array([[np.log(3), 0.0]]))
    # Probabilities of the label 3/4 and 1/4; the penalty is 0.25 · ln²3.
    assert loss == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2 + 0.25 * np.log(3) ** 2, abs=1e-12)
    assert gradient.tolist() == pytest.approx(
        [(-0.25 + 0.75) / 2 + 0.5 * np.log(3), (-0.25 - 0.75) / 2], abs=1e-12
    )


def test_log_softmax_survives_large_logits() -> None:
    for parameters in (np.array([[1e4, 0.0]]), np.array([[1e4, 0.0], [-1e4, 0.0], [0.0, 0.0]])):
        result = log_softmax(np.array([[1.0], [-1.0]]), parameters)
        assert np.isfinite(result).all()
        np.testing.assert_allclose(np.exp(result).sum(axis=1), 1, rtol=0, atol=1e-12)
