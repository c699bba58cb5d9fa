import numpy as np
import pytest
from scipy.stats import binomtest

from regraft.evaluation.intervals import Bootstrap, bootstrap_difference
from regraft.registry.paired import PairedComparison, compare_paired


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
