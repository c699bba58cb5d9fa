"""How depths are measured and one of them is chosen."""

from typing import Any

import numpy as np
import pytest

from regraft.evaluation.depths import choose_depth, measure_depths
from regraft.evaluation.intervals import Bootstrap, bootstrap_difference
from regraft.training.depth import DepthProbe

BOOTSTRAP = Bootstrap(num_resamples=500, confidence=0.95, seed=0)


def probe(kind: Any, stage: str, of_label: list[float], labels: np.ndarray) -> DepthProbe:
    """A probe that gives each label this probability."""
    probabilities = np.empty((len(labels), 2))
    rows = np.arange(len(labels))
    probabilities[rows, labels], probabilities[rows, 1 - labels] = of_label, 1 - np.array(of_label)
    return DepthProbe(kind, stage, 4, probabilities, (1.0,))


LABELS = np.array([0, 1] * 20)
RIGHT, WRONG = [0.8], [0.4]


def table_of(*of_stage: list[float]) -> list[dict[str, Any]]:
    probes = [
        probe(kind, f"stage{depth}", of_label, LABELS)
        for kind in ("last", "concat")
        for depth, of_label in enumerate(of_stage)
    ]
    return measure_depths(probes, LABELS, groups=[None] * 40, bootstrap=BOOTSTRAP)


def test_values_are_those_computed_by_hand() -> None:
    first, second, *_ = table_of(RIGHT * 30 + WRONG * 10, RIGHT * 40)
    assert first["accuracy"]["value"] == pytest.approx(0.75)
    assert first["log_loss"]["value"] == pytest.approx(-(30 * np.log(0.8) + 10 * np.log(0.4)) / 40)
    assert first["minus_best"]["accuracy"]["value"] == pytest.approx(-0.25)
    # ten wrong of forty drawn with replacement
    assert first["minus_last"]["accuracy"]["standard_error"] == pytest.approx(
        np.sqrt(0.25 * 0.75 / 40), rel=0.1
    )
    assert second["minus_best"]["accuracy"] == {"value": 0, "low": 0, "high": 0, "standard_error": 0}


def test_intervals_are_those_of_the_paired_bootstrap() -> None:
    generator = np.random.default_rng(0)
    one, two = (
        probe("last", stage, generator.uniform(0.1, 0.9, 40).tolist(), LABELS) for stage in ("one", "two")
    )
    groups = [f"group {row // 4}" for row in range(40)]
    concat = [DepthProbe("concat", p.stage, 4, p.probabilities, p.penalties) for p in (one, two)]
    table = measure_depths([one, two, *concat], LABELS, groups=groups, bootstrap=BOOTSTRAP)
    wanted = bootstrap_difference(
        two.probabilities, one.probabilities, LABELS, bootstrap=BOOTSTRAP, groups=groups
    )
    for metric in ("accuracy", "log_loss"):
        got = table[0]["minus_last"][metric]
        assert [got[end] for end in ("value", "low", "high")] == pytest.approx(
            [wanted[metric].value, wanted[metric].low, wanted[metric].high]
        )


def test_the_shallowest_depth_that_is_not_worse_is_chosen() -> None:
    equal = RIGHT * 36 + WRONG * 4
    swapped = RIGHT * 35 + WRONG * 4 + RIGHT
    table = table_of(RIGHT * 20 + WRONG * 20, equal, swapped)
    stage, reason = choose_depth(table, features="last", metric="accuracy")
    assert stage == "stage1"
    assert "stage1" in reason
    clear = table_of(RIGHT * 10 + WRONG * 30, RIGHT * 20 + WRONG * 20, RIGHT * 40)
    stage, reason = choose_depth(clear, features="concat", metric="log_loss")
    assert stage == "stage2"
    assert "best log-loss of all depths, 0.223" in reason


def test_a_chance_difference_takes_the_cheaper_and_says_so() -> None:
    table = table_of(RIGHT * 35 + WRONG * 5, WRONG * 4 + RIGHT * 36)
    stage, reason = choose_depth(table, features="last", metric="accuracy")
    assert (stage, "stage1 with 0.900, is better by no more than one standard error" in reason) == (
        "stage0",
        True,
    )
