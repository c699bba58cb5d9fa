import itertools
import time

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from regraft.evaluation.intervals import Bootstrap, bootstrap_difference
from regraft.registry.paired import PairedComparison, compare_changes, compare_paired


def compare(
    candidate: np.ndarray, champion: np.ndarray, groups: list[str | None] | None = None
) -> PairedComparison:
    return compare_paired(candidate, champion, groups=groups, num_resamples=20_000, confidence=0.95, seed=0)


def only_right(num_candidate: int, num_champion: int, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    candidate = np.ones(num_images, dtype=bool)
    champion = np.ones(num_images, dtype=bool)
    champion[:num_candidate] = False
    candidate[num_candidate : num_candidate + num_champion] = False
    return candidate, champion


@pytest.mark.parametrize(("wins", "losses"), [(4, 0), (6, 0), (12, 5), (41, 13), (3, 3)])
def test_p_value_of_single_images_is_that_of_mcnemars_exact_test(wins: int, losses: int) -> None:
    result = compare(*only_right(wins, losses, 200))
    expected = binomtest(wins, wins + losses).pvalue
    assert result.p_value == pytest.approx(expected, abs=0.015)  # of 20,000 flips: 4 standard errors
    assert (result.num_candidate_only_right, result.num_champion_only_right) == (wins, losses)


@pytest.mark.parametrize("is_grouped", [False, True])
def test_interval_equals_that_of_the_evaluation(is_grouped: bool) -> None:
    generator = np.random.default_rng(0)
    champion = generator.random(400) < 0.85
    candidate = champion ^ (generator.random(400) < 0.1)
    groups = [f"g{row % 40}" if row % 9 else None for row in range(400)] if is_grouped else None
    result = compare(candidate, champion, groups)
    scores = [np.where(is_right[:, None], [[0.9, 0.1]], [[0.1, 0.9]]) for is_right in (champion, candidate)]
    expected = bootstrap_difference(
        *scores, np.zeros(400, dtype=np.int64), bootstrap=Bootstrap(20_000, 0.95, 1), groups=groups
    )["accuracy"]
    assert result.difference == pytest.approx(expected.value)
    # Other random numbers: an end moves by about a hundredth of the width, in steps of 1 / 400.
    assert result.low == pytest.approx(expected.low, abs=0.003)
    assert result.high == pytest.approx(expected.high, abs=0.003)


def test_a_win_in_few_groups_is_not_taken_for_one_in_many_images() -> None:
    candidate, champion = only_right(30, 0, 90)
    groups: list[str | None] = ["a"] * 45 + ["b"] * 45
    assert compare(candidate, champion).p_value < 0.001
    assert compare(candidate, champion, groups).p_value > 0.4


def test_no_difference_has_no_width_and_p_1() -> None:
    same = np.array([True, False, True, True])
    result = compare(same, same)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)


def changes_of(*, num_images: int, mean: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, num_images)


def test_real_changes_have_the_interval_and_p_value_of_a_t_test_where_images_are_many() -> None:
    changes = changes_of(num_images=2000, mean=0.05)
    found = compare_changes(changes, groups=None, num_resamples=20_000, confidence=0.95, seed=0)
    expected = ttest_1samp(changes, 0.0)
    low, high = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(changes.mean())
    # Of 20,000 resamples and flips: a few hundredths of the width, and 4 standard errors
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.003)
    assert found.p_value == pytest.approx(expected.pvalue, abs=0.005)


def test_real_changes_of_few_units_are_flipped_as_all_flips_say() -> None:
    changes = np.array([0.3, 0.11, -0.05, 0.7, 0.25, 0.0, 0.4])
    signs = np.array(list(itertools.product([-1, 1], repeat=7)))
    expected = (np.abs(signs @ changes) >= (1 - 1e-12) * changes.sum()).mean()
    found = compare_changes(changes, groups=None, num_resamples=20_000, confidence=0.95, seed=0)
    assert found.p_value == pytest.approx(expected, abs=0.006)  # 4 standard errors
    whole = compare_changes(np.array([3.0, -1.0, 2.0]), groups=["a", None, "a"], num_resamples=4000,
                            confidence=0.95, seed=0)  # fmt: skip
    assert whole.p_value > 0.9  # 5 and −1: no flip is nearer to 0 than 4


def test_the_same_change_in_whole_numbers_and_in_fractions_has_the_same_p_value() -> None:
    changes = np.repeat([1.0, -1.0, 0.0], [30, 14, 100])
    whole, halves = (
        compare_changes(scale * changes, groups=None, num_resamples=20_000, confidence=0.95, seed=0)
        for scale in (1.0, 0.3)
    )
    assert halves.p_value == pytest.approx(whole.p_value, abs=0.006)
    assert halves.low == pytest.approx(0.3 * whole.low)


def test_twenty_thousand_different_changes_are_flipped_in_seconds() -> None:
    started = time.perf_counter()
    found = compare_changes(
        changes_of(num_images=20_000, mean=0.0), groups=None, num_resamples=10_000, confidence=0.95, seed=0
    )
    assert 0 < found.p_value <= 1
    assert (
        time.perf_counter() - started < 20
    )  # a second alone; one size after another takes ten times as long
