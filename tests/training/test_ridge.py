"""Ridge regression: scikit-learn's solution, a penalty that fits, and numbers on their own scale."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as SklearnRidge

from regraft.training.linear_probe import standardisation
from regraft.training.ridge import fit_ridge, predict_held_out

GENERATOR = np.random.default_rng(0)
FEATURES = (GENERATOR.normal(size=(120, 30)) * GENERATOR.uniform(0.1, 5, 30) + 3).astype(np.float32)
TRUE = GENERATOR.normal(size=(30, 2))
NUMBERS = np.stack([40 + 10 * (FEATURES @ TRUE[:, 0]), 0.5 + 0.01 * (FEATURES @ TRUE[:, 1])], axis=1)
NUMBERS = NUMBERS + GENERATOR.normal(size=NUMBERS.shape) * [20.0, 0.02]
FOLDS = [
    (np.flatnonzero(np.arange(120) % 4 != fold), np.flatnonzero(np.arange(120) % 4 == fold))
    for fold in range(4)
]
PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)


def predictions(ridge: object, features: np.ndarray) -> np.ndarray:
    return ridge.mean + ridge.scale * (features @ ridge.weight.T + ridge.bias)  # type: ignore[attr-defined]


@pytest.mark.parametrize("num_rows", [120, 20], ids=["more rows than features", "fewer"])
def test_it_is_scikit_learns_solution(num_rows: int) -> None:
    features, numbers = FEATURES[:num_rows], NUMBERS[:num_rows]
    weights = np.random.default_rng(1).uniform(0.5, 1.5, num_rows)
    weights /= weights.mean()
    folds = [(np.arange(num_rows), np.arange(num_rows))]
    ridge = fit_ridge(features, numbers, folds=folds, penalties=(0.3,), weights=weights)
    mean, scale = standardisation(features)
    wanted = (numbers - ridge.mean) / ridge.scale
    expected = SklearnRidge(alpha=0.3 * num_rows, solver="svd").fit(
        (features - mean) / scale, wanted, weights
    )
    np.testing.assert_allclose(ridge.weight * scale, expected.coef_, atol=1e-8)
    said = expected.predict((features - mean) / scale) * ridge.scale + ridge.mean
    np.testing.assert_allclose(predictions(ridge, features.astype(np.float64)), said, rtol=1e-6)
    assert ridge.gradient_norm < 1e-10


def test_the_penalty_with_the_least_error_on_rows_held_out_is_taken() -> None:
    ridge = fit_ridge(FEATURES, NUMBERS, folds=FOLDS, penalties=PENALTIES)
    mean, scale = standardisation(FEATURES)
    rows, wanted = (FEATURES - mean) / scale, (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0)
    errors = []
    for penalty in PENALTIES:
        squares = [
            (
                SklearnRidge(alpha=penalty * len(learnt))
                .fit(rows[learnt], wanted[learnt])
                .predict(rows[held])
                - wanted[held]
            )
            ** 2
            for learnt, held in FOLDS
        ]
        errors.append(np.concatenate(squares).mean(axis=0))
    best = int(np.argmin(np.mean(errors, axis=1)))
    assert ridge.penalty == PENALTIES[best]
    np.testing.assert_allclose(ridge.noise, np.sqrt(errors[best]), rtol=1e-6)
    told = [row["cv_error"] for row in ridge.history]
    np.testing.assert_allclose(told, np.sqrt(np.mean(errors, axis=1)), rtol=1e-6)
    assert [row["penalty"] for row in ridge.history] == list(PENALTIES)


def test_of_equal_penalties_the_stronger_and_noise_is_never_zero() -> None:
    exact = (FEATURES @ TRUE).astype(np.float64)
    ridge = fit_ridge(FEATURES, exact, folds=FOLDS, penalties=(1e-12, 1e-13))
    assert (ridge.noise == 1e-3).all()
    nothing = np.random.default_rng(2).normal(size=(120, 1))
    strongest = fit_ridge(FEATURES, nothing, folds=FOLDS, penalties=(1e9, 1e8, 1e-3))
    assert strongest.penalty >= 1e8


def test_what_is_held_out_is_judged_under_a_penalty_that_the_other_folds_chose() -> None:
    said = predict_held_out(FEATURES, NUMBERS, folds=FOLDS, penalties=PENALTIES)
    wanted = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0)
    predicted = []
    for learnt, held in FOLDS:
        mean, scale = standardisation(FEATURES, learnt)
        rows = (FEATURES - mean) / scale
        fits = [
            SklearnRidge(alpha=penalty * len(learnt)).fit(rows[learnt], wanted[learnt])
            for penalty in PENALTIES
        ]
        predicted.append(np.stack([fit.predict(rows[held]) for fit in fits]))
    errors = [
        ((of - wanted[held]) ** 2).sum(axis=(1, 2)) for of, (_, held) in zip(predicted, FOLDS, strict=True)
    ]
    for fold, (_, held) in enumerate(FOLDS):
        others = sum(error for other, error in enumerate(errors) if other != fold)
        expected = predicted[fold][int(np.argmin(others))] * NUMBERS.std(0) + NUMBERS.mean(0)
        np.testing.assert_allclose(said[held], expected, rtol=1e-5, atol=1e-6)
    missing = predict_held_out(FEATURES, NUMBERS, folds=FOLDS[:2], penalties=(1.0,))
    assert np.isnan(missing[FOLDS[2][1]]).all()


def test_numbers_that_nothing_tells_get_a_penalty_far_stronger_than_asked_for() -> None:
    generator = np.random.default_rng(3)
    features = generator.normal(size=(60, 200)).astype(np.float32)
    nothing = generator.normal(size=(60, 1))
    folds = [
        (np.flatnonzero(np.arange(60) % 3 != fold), np.flatnonzero(np.arange(60) % 3 == fold))
        for fold in range(3)
    ]
    ridge = fit_ridge(features, nothing, folds=folds, penalties=(10.0, 1.0))
    assert ridge.penalty >= 100
    assert [row["penalty"] for row in ridge.history] == sorted(
        (row["penalty"] for row in ridge.history), reverse=True
    )
    assert ridge.noise[0] < 1.06, "hardly worse than the mean"
    assert fit_ridge(features, nothing, folds=folds, penalties=(1.0,)).penalty == 1.0, (
        "the only one asked for"
    )
