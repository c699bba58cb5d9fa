from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.training.penalised_regression import PenalisedRegression, log_softmax
from regraft.training.penalty_path import predict_along_penalties

PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001, 0.0001)
Folds = list[tuple[np.ndarray, np.ndarray]]


def clouds(seed: int, distance: float, num_classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """120 rows of 20 standardised features; the nearer the classes, the stronger the penalty they want."""
    generator = np.random.default_rng(seed)
    labels = np.arange(120) % num_classes
    centres = distance * generator.normal(size=(num_classes, 20))
    features = centres[labels] + generator.normal(size=(120, 20))
    return (features - features.mean(axis=0)) / features.std(axis=0), labels


def parts(num_folds: int) -> Folds:
    rows, of_row = np.arange(120), np.arange(120) // (120 // num_folds)
    return [(rows[of_row != fold], rows[of_row == fold]) for fold in range(num_folds)]


def predict(
    features: np.ndarray,
    labels: np.ndarray,
    folds: Folds,
    *,
    penalties: Sequence[float] = PENALTIES,
    weights: np.ndarray | None = None,
) -> list[np.ndarray]:
    return predict_along_penalties(
        lambda learnt, held_out: (features[learnt], features[held_out]),
        folds,
        np.eye(labels.max() + 1)[labels],
        np.ones(len(labels)) if weights is None else weights,
        penalties=penalties,
        tolerance=1e-6,
        max_iterations=500,
    )


def losses_of_all(features: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """`(folds, penalties)` sums of held-out losses, every penalty solved by itself from nothing."""
    targets = np.eye(labels.max() + 1)[labels]
    losses = np.empty((len(folds), len(PENALTIES)))
    for fold, (learnt, held_out) in enumerate(folds):
        for number, penalty in enumerate(PENALTIES):
            problem = PenalisedRegression(features[learnt], targets[learnt], np.ones(len(learnt)), penalty)
            solution, _ = problem.solve(1e-6, 500)
            losses[fold, number] = -(targets[held_out] * log_softmax(features[held_out], solution)).sum()
    return losses


def losses_of(predicted: list[np.ndarray], labels: np.ndarray, folds: Folds) -> np.ndarray:
    return np.stack(
        [
            -of_fold[:, np.arange(len(held_out)), labels[held_out]].sum(axis=1)
            for of_fold, (_, held_out) in zip(predicted, folds, strict=True)
        ]
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.0, 0.3), st.integers(2, 3), st.sampled_from([1, 2, 3, 5]))
def test_what_is_chosen_is_what_would_be_among_all(
    seed: int, distance: float, num_classes: int, num_folds: int
) -> None:
    features, labels = clouds(seed, distance, num_classes)
    folds = parts(num_folds) if num_folds > 1 else parts(2)[:1]
    found = losses_of(predict(features, labels, folds), labels, folds)
    expected = losses_of_all(features, labels, folds)
    for left_out in [None, *range(num_folds)]:
        some = [fold for fold in range(num_folds) if fold != left_out]
        if some:
            of_found, of_all = found[some].sum(axis=0), expected[some].sum(axis=0)
            # 1 %: they are solved to a gradient of 1e-4, from another start
            assert of_all[of_found.argmin()] <= 1.01 * of_all.min()


def test_penalties_weaker_than_where_the_loss_has_risen_are_not_tried() -> None:
    features, labels = clouds(0, distance=0.1)
    folds = parts(3)
    expected = losses_of_all(features, labels, folds).sum(axis=0) / 120
    assert expected.argmin() == 1
    assert expected[2] < 1.05 * expected[1] < expected[3]
    assert {len(of_fold) for of_fold in predict(features, labels, folds)} == {4}


def test_all_are_tried_where_weaker_ones_go_on_winning() -> None:
    features, labels = clouds(0, distance=3.0)
    assert {len(of_fold) for of_fold in predict(features, labels, parts(3))} == {len(PENALTIES)}


def test_a_first_fold_that_wants_a_strong_penalty_does_not_stop_the_others() -> None:
    features, labels = clouds(1, distance=3.0)
    rows = np.arange(120)
    folds = [(rows[8:], rows[:8]), *((rows[rows % 3 != fold], rows[rows % 3 == fold]) for fold in range(3))]
    labels = labels.copy()
    labels[:8] = 1 - labels[:8]  # what is said of them is wrong, and the worse the surer
    weights = np.where(rows < 8, 1e-4, 1.0)  # and nobody learns from them
    predicted = predict(features, labels, folds, weights=weights)
    assert np.all(np.diff(losses_of(predicted, labels, folds)[0]) > 0)
    assert {len(of_fold) for of_fold in predicted} == {len(PENALTIES)}


def test_one_fold_s_copies_are_made_at_a_time_and_none_twice_where_folds_agree() -> None:
    features, labels = clouds(0, distance=0.1)
    asked: list[int] = []

    def arrays(learnt: np.ndarray, held_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(int(held_out[0]))
        return features[learnt], features[held_out]

    done: list[tuple[int, int]] = []
    predict_along_penalties(
        arrays,
        parts(3),
        np.eye(2)[labels],
        np.ones(120),
        penalties=PENALTIES,
        tolerance=1e-6,
        max_iterations=500,
        on_fold=lambda *numbers: done.append(numbers),
    )
    assert asked == [0, 40, 80]
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_rows_that_count_nothing_do_not_decide_where_to_stop() -> None:
    """Half the rows are coin tosses; with no weight on them weak penalties win as if they were not there."""
    features, labels = clouds(2, distance=3.0)
    labels = labels.copy()
    is_noise = np.arange(120) % 4 < 2
    labels[is_noise] = np.random.default_rng(0).integers(0, 2, is_noise.sum())
    weights = np.where(is_noise, 0.0, 2.0)
    assert max(len(of_fold) for of_fold in predict(features, labels, parts(3))) < len(PENALTIES)
    counted = predict(features, labels, parts(3), weights=weights)
    assert {len(of_fold) for of_fold in counted} == {len(PENALTIES)}


def test_penalties_are_tried_from_strong_to_weak_whatever_their_order() -> None:
    features, labels = clouds(3, distance=0.5)
    one = predict(features, labels, parts(3), penalties=(0.1, 10.0, 1.0))
    other = predict(features, labels, parts(3), penalties=(10.0, 1.0, 0.1))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_what_is_to_be_kept_is() -> None:
    features, labels = clouds(4, distance=0.5)
    folds = parts(3)
    asked: list[np.ndarray] = []

    def of_own_label(log_probabilities: np.ndarray, held_out: np.ndarray) -> np.ndarray:
        asked.append(held_out)
        return log_probabilities[np.arange(len(held_out)), labels[held_out]]

    kept = predict_along_penalties(
        lambda learnt, held_out: (features[learnt], features[held_out]),
        folds,
        np.eye(2)[labels],
        np.ones(120),
        penalties=(1.0, 0.1),
        tolerance=1e-6,
        max_iterations=500,
        keep=of_own_label,
    )
    assert [of_fold.shape for of_fold in kept] == [(2, 40)] * 3
    np.testing.assert_array_equal(
        np.concatenate(asked), np.repeat(np.arange(120).reshape(3, 40), 2, axis=0).ravel()
    )
    whole = predict(features, labels, folds, penalties=(1.0, 0.1))
    for fold, of_fold in enumerate(kept):
        expected = whole[fold][:, np.arange(40), labels[folds[fold][1]]]
        np.testing.assert_array_equal(of_fold, expected)
