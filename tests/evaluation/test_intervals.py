import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.evaluation import intervals, reweighted
from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.metrics import METRICS

BOOTSTRAP = Bootstrap(num_resamples=400, confidence=0.95, seed=7)


def random_scores(num_images: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """With many ties: two digits."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, num_classes, num_images)
    logits = generator.normal(size=(num_images, num_classes))
    logits[np.arange(num_images), labels] += 1.2
    rounded = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2) + 0.01
    return rounded / rounded.sum(axis=1, keepdims=True), labels


def all_weights(num_images: int, groups: list[str | None] | None) -> np.ndarray:
    parts = intervals.resample_weights(num_images, bootstrap=BOOTSTRAP, groups=groups)
    return np.concatenate(list(parts), axis=1)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("name", sorted(METRICS))
@settings(max_examples=6, deadline=None)
@given(num_images=st.integers(1, 30), seed=st.integers(0, 10_000), is_grouped=st.booleans())
def test_each_resample_equals_the_metric_on_the_resampled_arrays(
    name: str, num_classes: int, num_images: int, seed: int, is_grouped: bool
) -> None:
    probabilities, labels = random_scores(num_images, num_classes, seed)
    groups = [f"g{row % 4}" if row % 5 else None for row in range(num_images)] if is_grouped else None
    weights = all_weights(num_images, groups)[:, :12]
    values = reweighted.prepare(name, probabilities, labels)(weights)
    for column, value in zip(weights.T.astype(int), values, strict=True):
        drawn = np.repeat(np.arange(num_images), column)
        expected = METRICS[name].function(probabilities[drawn], labels[drawn])
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_metric_without_a_formula_is_resampled_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = random_scores(40, 3, 0)
    weights = all_weights(40, None)[:, :20]
    fast = reweighted.prepare("macro_f1", probabilities, labels)(weights)
    monkeypatch.delitem(reweighted._FORMULAS, "macro_f1")
    slow = reweighted.prepare("macro_f1", probabilities, labels)(weights)
    np.testing.assert_allclose(slow, fast, atol=1e-12)


def test_weights_draw_as_many_images_as_there_are() -> None:
    weights = all_weights(50, None)
    assert weights.shape == (50, 400)
    assert (weights.sum(axis=0) == 50).all()
    assert weights.mean() == 1


def test_weights_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = all_weights(50, None)
    monkeypatch.setattr(intervals, "_CHUNK_VALUES", 350)
    np.testing.assert_array_equal(all_weights(50, None), at_once)


def test_images_of_a_group_are_drawn_together_and_images_without_one_alone() -> None:
    weights = all_weights(6, ["a", "b", "a", None, None, "b"])
    assert (weights[0] == weights[2]).all()
    assert (weights[1] == weights[5]).all()
    assert (weights[3] != weights[4]).any()


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 groups for 3 images"):
        list(intervals.resample_weights(3, bootstrap=BOOTSTRAP, groups=["a", "b"]))


@pytest.mark.parametrize("settings", [(99, 0.95, 0), (1000, 1.0, 0), (1000, 95, 0)])
def test_settings_out_of_range_are_refused(settings: tuple[int, float, int]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Bootstrap(*settings)


def test_intervals_are_the_same_for_a_seed_and_hold_the_value() -> None:
    probabilities, labels = random_scores(200, 3, 1)
    first = intervals.bootstrap_intervals(probabilities, labels, bootstrap=BOOTSTRAP)
    assert first == intervals.bootstrap_intervals(probabilities, labels, bootstrap=BOOTSTRAP)
    assert list(first) == list(METRICS)
    for name in set(METRICS) - {"expected_calibration_error"}:
        assert first[name].low < first[name].value < first[name].high


def test_accuracy_interval_is_as_wide_as_the_binomial_says() -> None:
    is_right = np.arange(1000) % 10 != 0
    probabilities = np.where(is_right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
    estimate = intervals.bootstrap_intervals(
        probabilities,
        np.zeros(1000, dtype=np.int64),
        bootstrap=Bootstrap(4000, 0.95, 0),
        metrics=["accuracy"],
    )["accuracy"]
    half = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    # The ends are known to about a twentieth of the width, and accuracy comes in steps of 0.001.
    assert estimate.low == pytest.approx(0.9 - half, abs=0.003)
    assert estimate.high == pytest.approx(0.9 + half, abs=0.003)


def test_95_percent_intervals_hold_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(0)
    truth, num_trials, hits = 0.8, 250, {"image": 0, "group": 0, "image, though grouped": 0}
    groups = [str(row // 10) for row in range(300)]
    for seed in range(num_trials):
        alone = generator.random(300) < truth
        together = np.repeat(
            generator.random(30) < truth, 10
        )  # the images of a group are right or wrong as one
        for name, is_right, of_groups in (
            ("image", alone, None),
            ("group", together, groups),
            ("image, though grouped", together, None),
        ):
            probabilities = np.where(is_right[:, None], [[0.9, 0.1]], [[0.1, 0.9]])
            estimate = intervals.bootstrap_intervals(
                probabilities,
                np.zeros(300, dtype=np.int64),
                bootstrap=Bootstrap(200, 0.95, seed),
                groups=of_groups,
                metrics=["accuracy"],
            )["accuracy"]
            hits[name] += estimate.low <= truth <= estimate.high
    # 250 trials know a coverage of 0.95 to ±0.03; 30 groups are few, so theirs may lie a little lower.
    assert 0.91 <= hits["image"] / num_trials <= 0.98
    assert 0.88 <= hits["group"] / num_trials <= 0.98
    assert hits["image, though grouped"] / num_trials < 0.7, "the planted fault: groups ignored"


def test_paired_difference_is_narrower_than_unpaired_and_signed_second_minus_first() -> None:
    generator = np.random.default_rng(3)
    hard = generator.random(600) < 0.2
    first = ~hard
    second = ~hard | (generator.random(600) < 0.05)
    labels = np.zeros(600, dtype=np.int64)
    of_model = [np.where(is_right[:, None], [[0.9, 0.1]], [[0.1, 0.9]]) for is_right in (first, second)]
    difference = intervals.bootstrap_difference(*of_model, labels, bootstrap=BOOTSTRAP)["accuracy"]
    alone = intervals.bootstrap_intervals(of_model[0], labels, bootstrap=BOOTSTRAP)["accuracy"]
    assert difference.value == pytest.approx(second.mean() - first.mean())
    assert difference.low >= 0
    assert difference.high - difference.low < (alone.high - alone.low) / 2


def test_a_model_differs_from_itself_by_exactly_nothing() -> None:
    probabilities, labels = random_scores(100, 3, 2)
    for estimate in intervals.bootstrap_difference(
        probabilities, probabilities, labels, bootstrap=BOOTSTRAP
    ).values():
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_undefined_values_are_none_with_a_reason() -> None:
    probabilities, labels = random_scores(60, 3, 5)
    labels = labels % 2  # no image of class 2
    missing = intervals.bootstrap_intervals(probabilities, labels, bootstrap=BOOTSTRAP)["roc_auc"]
    assert missing.as_dict() == {
        "value": None, "low": None, "high": None, "reason": "not defined on these images: a class has none",
    }  # fmt: skip
    labels[0] = 2  # one: a resample lacks it with probability 1/e
    rare = intervals.bootstrap_intervals(probabilities, labels, bootstrap=BOOTSTRAP)["roc_auc"]
    assert rare.low is not None
    assert "of 400 resamples lack a class and are left out" in str(rare.reason)
    none = intervals.bootstrap_intervals(
        np.array([[0.6, 0.4], [0.2, 0.8]]), np.array([0, 1]), bootstrap=BOOTSTRAP, groups=["a", "b"]
    )["roc_auc"]
    assert none.value == 1
    assert none.reason is not None


def test_2000_resamples_of_656_images_and_two_models_take_seconds() -> None:
    probabilities, labels = random_scores(656, 2, 0)
    start = time.perf_counter()
    intervals.bootstrap_models(
        {"a": probabilities, "b": probabilities}, labels, bootstrap=Bootstrap(2000, 0.95, 0), groups=None
    )
    assert time.perf_counter() - start < 5  # 0.2 s on one idle core
