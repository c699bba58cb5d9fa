"""Who can still win, judged by probes."""

import numpy as np
import pandas as pd
import pytest

from regraft.comparing.finalists import Standing, rank_candidates, rank_probes
from regraft.comparing.one_label import LabelJudge, LabelTask
from regraft.comparing.tried import Tried
from regraft.evaluation.intervals import Bootstrap

TASK = LabelTask({"label": ["even", "odd"]})
BOOTSTRAP = Bootstrap(num_resamples=500, confidence=0.95, seed=0)


def answers(labels: np.ndarray, num_wrong: int) -> np.ndarray:
    """Probabilities that are wrong on the first images."""
    predicted = labels.copy()
    predicted[:num_wrong] = 1 - predicted[:num_wrong]
    return np.eye(2)[predicted] * 0.8 + 0.1


LABELS = np.arange(1000) % 2
IMAGES = pd.DataFrame({"label": LABELS})


def ranked(held_out: dict[str, np.ndarray], *, slack: float) -> list[Standing]:
    judge = LabelJudge("label")
    scores = {label: judge.image_scores(probabilities, IMAGES) for label, probabilities in held_out.items()}
    return rank_candidates(scores, None, judge=judge, slack=slack, bootstrap=BOOTSTRAP)


def test_the_best_probe_comes_first_and_a_far_worse_one_is_out() -> None:
    held_out = {"poor": answers(LABELS, 200), "good": answers(LABELS, 100), "near": answers(LABELS, 105)}
    first, second, third = ranked(held_out, slack=0.02)
    assert [one.label for one in (first, second, third)] == ["good", "near", "poor"]
    assert (first.score, first.difference, first.can_win) == (0.9, 0.0, True)
    assert second.difference == pytest.approx(-0.005)
    assert second.can_win
    assert third.difference == pytest.approx(-0.1)
    assert third.low < -0.1 < third.high < -0.02
    assert not third.can_win


def test_slack_keeps_in_whom_fine_tuning_may_lift_more() -> None:
    held_out = {"good": answers(LABELS, 100), "poor": answers(LABELS, 200)}
    *_, poor = ranked(held_out, slack=0.1)
    assert poor.can_win


def test_intervals_widen_with_the_number_of_candidates() -> None:
    pair = {"good": answers(LABELS, 100), "poor": answers(LABELS, 130)}
    more = pair | {f"other {number}": answers(LABELS, 150 + number) for number in range(6)}

    def width(held_out: dict[str, np.ndarray]) -> float:
        standings = ranked(held_out, slack=0.0)
        (poor,) = [one for one in standings if one.label == "poor"]
        return poor.high - poor.low

    assert width(more) > width(pair)


def test_whole_groups_are_drawn_where_there_are_some() -> None:
    manifest = pd.DataFrame(
        {
            "split": ["train"] * 600 + ["val"] * 400 + ["test"] * 10,
            "label": [*LABELS, *LABELS[:10]],
            "group": [f"module {row // 100}" for row in range(1000)] + ["other"] * 10,
        }
    )
    probes = [
        Tried(name, "probe", {"held_out": answers(LABELS, num_wrong)}, {})
        for name, num_wrong in (("good", 100), ("poor", 130))
    ]
    _, grouped = rank_probes(probes, manifest, TASK, slack=0.0, bootstrap=BOOTSTRAP)
    _, single = rank_probes(probes, manifest.assign(group=None), TASK, slack=0.0, bootstrap=BOOTSTRAP)
    assert grouped.difference == single.difference == pytest.approx(-0.03)
    # All 30 lie in one module of ten: in a resample of modules they occur 0, 1, 2 … times as a whole.
    assert grouped.high == 0
    assert single.high < 0


def test_one_candidate_can_win() -> None:
    (alone,) = ranked({"alone": answers(LABELS, 3)}, slack=0.0)
    assert alone.can_win
