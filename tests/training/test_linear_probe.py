import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from regraft.training import standardised_rows
from regraft.training.balance import even_weights
from regraft.training.linear_probe import (
    SolverSettings,
    fit_linear_probe,
    group_folds,
)
from regraft.training.penalised_regression import PenalisedRegression, log_softmax

SETTINGS = SolverSettings(penalties=(0.1,), num_folds=4, tolerance=1e-7, max_iterations=2000, seed=0)


def make_data(
    num_classes: int, *, num_rows: int = 150, num_features: int = 6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds, features of very different scale."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(num_rows) % num_classes)
    centres = generator.normal(size=(num_classes, num_features))
    features = centres[labels] + generator.normal(size=(num_rows, num_features))
    return (features * np.logspace(-2, 2, num_features) + 5).astype(np.float32), labels


def each_alone(labels: np.ndarray) -> np.ndarray:
    return np.arange(len(labels))


def logits_of(probe, features):
    return features.astype(np.float64) @ probe.weight.T + probe.bias


def scale_of(features: np.ndarray) -> np.ndarray:
    """By hand: the root of a feature's variance and a tenth of all features' mean variance."""
    variance = features.var(axis=0, dtype=np.float64)
    return np.sqrt(variance + 0.1 * variance.mean())


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("penalty", [1.0, 0.01])
@pytest.mark.parametrize("num_classes", [2, 3])
def test_solution_is_scikit_learns(num_classes: int, penalty: float, class_weight: str | None) -> None:
    features, labels = make_data(num_classes)
    is_kept = (labels > 0) | (np.arange(len(labels)) % 5 == 0)  # of the first class a fifth
    features, labels = features[is_kept], labels[is_kept]
    probe = fit_linear_probe(
        features,
        labels,
        num_classes=num_classes,
        groups=each_alone(labels),
        settings=replace(SETTINGS, penalties=(penalty,)),
        weights=even_weights(labels) if class_weight else None,
    )
    mean, scale = features.mean(axis=0, dtype=np.float64), scale_of(features)
    standardised = (features - mean) / scale
    # Its objective is C · the sum of losses + ‖weight‖² / 2.
    reference = LogisticRegression(
        C=1 / (penalty * len(labels)), tol=1e-10, max_iter=10_000, class_weight=class_weight
    )
    reference.fit(standardised, labels)
    np.testing.assert_allclose(probe.weight * scale, reference.coef_, rtol=0, atol=1e-4)
    logits, expected = logits_of(probe, features), reference.decision_function(standardised)
    if num_classes == 2:
        np.testing.assert_allclose(logits[:, 0], expected, rtol=0, atol=1e-4)
    else:  # one number may be added to all logits of a row
        np.testing.assert_allclose(
            logits - logits.mean(axis=1, keepdims=True),
            expected - expected.mean(axis=1, keepdims=True),
            rtol=0,
            atol=1e-4,
        )
    assert probe.weight.shape == (1 if num_classes == 2 else num_classes, features.shape[1])


@pytest.mark.parametrize("num_classes", [2, 3])
def test_soft_targets_and_weights_are_scikit_learns_weighted_solution(num_classes: int) -> None:
    """A row with probabilities is K rows, one a class, each weighted by its probability."""
    features, labels = make_data(num_classes)
    generator = np.random.default_rng(5)
    targets = 0.6 * np.eye(num_classes)[labels] + 0.4 * generator.dirichlet(np.ones(num_classes), len(labels))
    weights = generator.integers(0, 4, len(labels)).astype(np.float64)
    weights /= weights.mean()
    probe = fit_linear_probe(
        features,
        labels,
        num_classes=num_classes,
        groups=each_alone(labels),
        settings=replace(SETTINGS, penalties=(0.05,)),
        targets=targets,
        weights=weights,
    )
    mean, scale = features.mean(axis=0, dtype=np.float64), scale_of(features)
    reference = LogisticRegression(C=1 / (0.05 * len(labels)), tol=1e-10, max_iter=10_000)
    reference.fit(
        np.repeat((features - mean) / scale, num_classes, axis=0),
        np.tile(np.arange(num_classes), len(labels)),
        sample_weight=(weights[:, None] * targets).ravel(),
    )
    coefficients = probe.weight * scale
    if num_classes > 2:
        coefficients = coefficients - coefficients.mean(axis=0)
    np.testing.assert_allclose(coefficients, reference.coef_, rtol=0, atol=1e-4)
    plain = fit_linear_probe(
        features,
        labels,
        num_classes=num_classes,
        groups=each_alone(labels),
        settings=replace(SETTINGS, penalties=(0.05,)),
    )
    assert np.abs(plain.weight - probe.weight).max() > 1e-3  # they do make a difference


def test_the_penalty_is_chosen_against_the_soft_targets() -> None:
    """Labels that follow the features exactly want hardly any penalty; told that they are coin tosses, the strongest
    is best."""
    features, labels = make_data(2)
    labels = (features[:, 0] > np.median(features[:, 0])).astype(np.int64)
    settings_ = replace(SETTINGS, penalties=(100.0, 0.001))
    arguments = {"num_classes": 2, "groups": each_alone(labels), "settings": settings_}
    assert fit_linear_probe(features, labels, **arguments).penalty == 0.001
    undecided = np.full((len(labels), 2), 0.5)
    assert fit_linear_probe(features, labels, **arguments, targets=undecided).penalty == 100.0


def test_converged_means_a_gradient_within_the_tolerance() -> None:
    features, labels = make_data(3)
    for tolerance in (1e-3, 1e-8):
        probe = fit_linear_probe(
            features,
            labels,
            num_classes=3,
            groups=each_alone(labels),
            settings=replace(SETTINGS, tolerance=tolerance),
        )
        assert probe.is_converged
        assert probe.gradient_norm <= tolerance


def test_stopped_early_is_not_converged() -> None:
    features, labels = make_data(3)
    stopped = replace(SETTINGS, max_iterations=2)
    probe = fit_linear_probe(features, labels, num_classes=3, groups=each_alone(labels), settings=stopped)
    assert not probe.is_converged
    assert probe.gradient_norm > SETTINGS.tolerance
    assert probe.iterations == 2


def test_cross_validated_losses_are_scikit_learns() -> None:
    features, labels = make_data(3, num_rows=90)
    groups = np.arange(90) // 3
    penalties = (3.0, 0.3, 0.01)
    many = replace(SETTINGS, penalties=penalties)
    probe = fit_linear_probe(features, labels, num_classes=3, groups=groups, settings=many)
    exact = features.astype(np.float64)
    standardised = (exact - exact.mean(axis=0)) / scale_of(exact)
    folds = StratifiedGroupKFold(n_splits=4, shuffle=True, random_state=0)
    for row in probe.history:
        probabilities = np.empty((90, 3))
        for train, held_out in folds.split(labels, labels, groups):
            reference = LogisticRegression(C=1 / (row["penalty"] * len(train)), tol=1e-8, max_iter=10_000)
            reference.fit(standardised[train], labels[train])
            probabilities[held_out] = reference.predict_proba(standardised[held_out])
        # 1e-3: the search solves to a gradient of 1e-4 only
        assert row["cv_log_loss"] == pytest.approx(log_loss(labels, probabilities), abs=1e-3)
        assert row["cv_accuracy"] == pytest.approx((probabilities.argmax(axis=1) == labels).mean(), abs=0.02)
    assert [row["penalty"] for row in probe.history] == sorted(penalties, reverse=True)
    assert probe.penalty == min(probe.history, key=lambda row: row["cv_log_loss"])["penalty"]


def test_choice_of_penalty_is_the_same_each_time_and_follows_the_seed() -> None:
    features, labels = make_data(2, num_rows=60)
    many = replace(SETTINGS, penalties=(10.0, 1.0, 0.1, 0.001))

    def fit(seed: int):
        return fit_linear_probe(
            features, labels, num_classes=2, groups=each_alone(labels), settings=replace(many, seed=seed)
        )

    first, again, other = fit(0), fit(0), fit(1)
    assert first.history == again.history
    assert np.array_equal(first.weight, again.weight)
    assert first.penalty == again.penalty
    assert first.history != other.history


def test_order_of_the_candidates_does_not_matter() -> None:
    features, labels = make_data(2, num_rows=60)
    one, other = (
        fit_linear_probe(
            features,
            labels,
            num_classes=2,
            groups=each_alone(labels),
            settings=replace(SETTINGS, penalties=penalties),
        )
        for penalties in ((1.0, 0.01, 0.1), (0.1, 1.0, 0.01))
    )
    assert one.history == other.history
    assert np.array_equal(one.weight, other.weight)


def test_of_equal_penalties_the_stronger_is_taken() -> None:
    features, labels = np.zeros((40, 2), dtype=np.float32), np.arange(40) % 2
    many = replace(SETTINGS, penalties=(0.1, 10.0, 1.0))
    probe = fit_linear_probe(features, labels, num_classes=2, groups=each_alone(labels), settings=many)
    assert len({row["cv_log_loss"] for row in probe.history}) == 1
    assert probe.penalty == 10.0


def test_a_group_tells_nothing_of_itself_in_cross_validation() -> None:
    # Features name the group and nothing else, labels are the group's: seen before, a group is known for sure.
    groups = np.repeat(np.arange(40), 4)
    group_labels = np.random.default_rng(0).permutation(np.arange(40) % 2)
    features, labels = np.eye(40, dtype=np.float32)[groups], group_labels[groups]
    many = replace(SETTINGS, penalties=(1e-2, 1e-4))
    honest = fit_linear_probe(features, labels, num_classes=2, groups=groups, settings=many)
    leaking = fit_linear_probe(features, labels, num_classes=2, groups=each_alone(labels), settings=many)
    assert max(row["cv_accuracy"] for row in honest.history) < 0.7
    assert min(row["cv_accuracy"] for row in leaking.history) > 0.95  # the planted fault


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(6, 12))
def test_no_group_is_on_both_sides_of_a_fold(seed: int, num_folds: int, num_groups: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, num_groups, 80)
    labels = generator.integers(0, 2, 80)
    folds = group_folds(labels, groups, 2, replace(SETTINGS, num_folds=num_folds, seed=seed % 100))
    for train, held_out in folds:
        assert not set(groups[train]) & set(groups[held_out])
        assert sorted([*train, *held_out]) == list(range(80))
    assert sorted(row for _, held_out in folds for row in held_out) == list(range(80))


def test_fewer_groups_than_folds_is_as_many_folds() -> None:
    labels, groups = np.arange(30) % 2, np.arange(30) // 10
    assert len(group_folds(labels, groups, 2, replace(SETTINGS, num_folds=10))) == 3


def test_a_fold_without_anything_held_out_is_none() -> None:
    groups = np.repeat(np.arange(5), [16500, 291, 1123, 850, 152])
    labels = np.array([1, 0, 1, 0, 1])[groups]  # a class a group: scikit-learn leaves a fold empty
    folds = group_folds(labels, groups, 2, replace(SETTINGS, num_folds=5, seed=3))
    assert [len(held_out) for _, held_out in folds] == [1123, 291, 152, 17350]


def test_groups_that_cannot_be_parted_ask_for_a_single_penalty() -> None:
    features, labels = make_data(2, num_rows=20)
    for groups in (np.zeros(20, dtype=int), labels):  # one group in all; a class a group
        with pytest.raises(ValueError, match=r"give a single penalty in train_head.head.penalties"):
            fit_linear_probe(
                features,
                labels,
                num_classes=2,
                groups=groups,
                settings=replace(SETTINGS, penalties=(1.0, 0.1)),
            )
        fit_linear_probe(features, labels, num_classes=2, groups=groups, settings=SETTINGS)


def test_a_class_without_images_is_named() -> None:
    features, labels = make_data(2)
    with pytest.raises(ValueError, match=r"no training image has label number\(s\) \[2\]"):
        fit_linear_probe(features, labels, num_classes=3, groups=each_alone(labels), settings=SETTINGS)


def test_a_feature_that_never_varies_says_nothing() -> None:
    features, labels = make_data(2)
    constant = np.full((len(labels), 1), 7.0, dtype=np.float32)
    with_it = np.concatenate([features, constant], axis=1)
    groups = each_alone(labels)
    probe = fit_linear_probe(with_it, labels, num_classes=2, groups=groups, settings=SETTINGS)
    assert probe.weight[0, -1] == 0
    assert np.isfinite(logits_of(probe, with_it)).all()


def test_a_feature_that_hardly_varies_is_not_blown_up_in_new_images() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    features = generator.normal(size=(200, 5)).astype(np.float32)
    features[:, 0] += labels
    features[:, 4] *= 1e-4  # among the training images; elsewhere it is as large as the others
    probe = fit_linear_probe(features, labels, num_classes=2, groups=np.arange(200), settings=SETTINGS)
    new = features.copy()
    new[:, 4] = 1.0
    assert np.abs(logits_of(probe, new) - logits_of(probe, features)).max() < 0.1


@pytest.mark.parametrize("num_classes", [2, 3])
def test_many_features_are_solved_as_few_are_and_never_copied_whole(
    num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = make_data(num_classes, num_rows=4000, num_features=300)
    generator = np.random.default_rng(6)
    arguments: dict[str, Any] = {
        "num_classes": num_classes,
        "groups": np.searchsorted([3400, 3560, 3720, 3880], np.arange(4000), side="right"),
        "settings": replace(SETTINGS, penalties=(10.0, 1.0, 0.1), num_folds=5, tolerance=1e-6),
        "weights": generator.uniform(0.5, 1.5, 4000),
        "targets": 0.8 * np.eye(num_classes)[labels] + 0.2 / num_classes,
    }
    held = fit_linear_probe(features, labels, **arguments)
    monkeypatch.setattr(standardised_rows, "MOST_BYTES_HELD", 0)
    tracemalloc.start()
    try:
        read = fit_linear_probe(features, labels, **arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < features.nbytes / 2
    np.testing.assert_allclose(read.weight, held.weight, rtol=0, atol=1e-6 * np.abs(held.weight).max())
    np.testing.assert_allclose(read.bias, held.bias, rtol=0, atol=1e-5)
    assert read.penalty == held.penalty
    for one, other in zip(read.history, held.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_weights_and_soft_targets_count_in_the_cross_validated_loss() -> None:
    features, labels = make_data(3, num_rows=90)
    generator = np.random.default_rng(7)
    weights = np.where(labels == 0, 4.0, 0.5) * generator.uniform(0.5, 1.5, 90)
    weights /= weights.mean()
    targets = 0.5 * np.eye(3)[labels] + 0.5 * generator.dirichlet(np.ones(3), 90)
    settings_ = replace(SETTINGS, penalties=(1.0, 0.3))
    probe = fit_linear_probe(
        features,
        labels,
        num_classes=3,
        groups=each_alone(labels),
        settings=settings_,
        weights=weights,
        targets=targets,
    )
    standardised = (features - features.mean(axis=0, dtype=np.float64)) / scale_of(features)
    log_probabilities = np.empty((90, 3))
    for learnt, held_out in group_folds(labels, each_alone(labels), 3, settings_):
        problem = PenalisedRegression(standardised[learnt], targets[learnt], weights[learnt], 0.3)
        log_probabilities[held_out] = log_softmax(standardised[held_out], problem.solve(1e-8, 1000)[0])
    losses = -(targets * log_probabilities).sum(axis=1)
    hits = log_probabilities.argmax(axis=1) == labels
    assert probe.history[1]["cv_log_loss"] == pytest.approx((weights * losses).mean(), abs=1e-3)
    assert probe.history[1]["cv_accuracy"] == pytest.approx((weights * hits).mean(), abs=1e-3)
    # What it would be otherwise is far off.
    assert abs((weights * losses).mean() - losses.mean()) > 5e-3
    of_labels = -log_probabilities[np.arange(90), labels]
    assert abs((weights * losses).mean() - (weights * of_labels).mean()) > 5e-3


def test_features_are_held_twice_more_at_most() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    features = (generator.standard_normal((2000, 512)) + labels[:, None] * 0.1).astype(np.float32)
    coarse = replace(SETTINGS, penalties=(1.0, 0.1), tolerance=1e-3)
    tracemalloc.start()
    try:
        fit_linear_probe(features, labels, num_classes=2, groups=np.arange(2000), settings=coarse)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # In float64, or in float32 beside a fold's parts; all of it at once would be four times.
    assert 2 <= peak / features.nbytes < 3
