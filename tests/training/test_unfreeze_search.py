"""The search among candidates: what is tried for how long, what wins, and that a killed one goes on."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from regraft.backbones.stage_choice import LastStages, Unfreeze, said_in_words, said_unfreeze
from regraft.save_points import InMemory, NoSavePoints
from regraft.training.unfreeze_search import (
    Found,
    SearchSettings,
    Trial,
    cheapest_within_noise,
    evidence_weights,
    paired_difference,
    search_unfreeze,
)

CANDIDATES: tuple[Unfreeze, ...] = ("none", LastStages(1), LastStages(2), LastStages(3), "first", "all")
NOISE = np.random.default_rng(0).normal(0, 0.3, 40)


def trial(unfreeze: Unfreeze, costs: Sequence[float], epochs: int = 1) -> Trial:
    mean = float(np.mean(costs))
    return Trial(said_unfreeze(unfreeze), (), epochs, epochs, mean, mean, 0.5, tuple(map(float, costs)))


class Trainer:
    """Knows what every candidate will cost; keeps what it was asked, and what was dropped."""

    def __init__(self, costs: Mapping[str, float], kill_after: int | None = None) -> None:
        self.costs, self.kill_after = costs, kill_after
        self.asked: list[tuple[str, int]] = []
        self.dropped: list[str] = []

    def train(self, unfreeze: Unfreeze, epochs: int) -> Trial:
        if len(self.asked) == self.kill_after:
            raise KeyboardInterrupt
        name = said_in_words(unfreeze)
        self.asked.append((name, epochs))
        return trial(unfreeze, self.costs[name] + NOISE, epochs)

    def drop(self, unfreeze: Unfreeze) -> None:
        self.dropped.append(said_in_words(unfreeze))


COSTS = {"none": 1.0, "last 1": 0.9, "last 2": 0.7, "last 3": 0.5, "first": 0.8, "all": 0.6}


@pytest.fixture
def search() -> Callable[..., tuple[Found, Trainer]]:
    def run(
        costs: Mapping[str, float] = COSTS,
        *,
        rounds: int = 3,
        min_updates: int = 1,
        take: Literal["mean", "one"] = "one",
        noise: float = 1.0,
        max_epochs: int = 8,
        trainer: Trainer | None = None,
        save_points: Any = None,
        key: str = "",
    ) -> tuple[Found, Trainer]:
        trainer = trainer or Trainer(costs)
        found = search_unfreeze(
            CANDIDATES,
            trainer,
            max_epochs=max_epochs,
            updates_an_epoch=10,
            settings=SearchSettings(rounds, min_updates, take, noise),
            save_points=save_points or NoSavePoints(),
            key=key,
        )
        return found, trainer

    return run


def test_half_go_on_to_twice_as_many_epochs_and_the_best_wins(
    search: Callable[..., tuple[Found, Trainer]],
) -> None:
    found, trainer = search()
    assert trainer.asked == [
        ("none", 0),
        *[(name, 2) for name in ("last 1", "last 2", "last 3", "first", "all")],
        *[(name, 4) for name in ("last 2", "last 3", "all")],
        *[(name, 8) for name in ("last 3", "all")],
    ]
    assert trainer.dropped == ["last 1", "first", "last 2"]
    assert found.unfreeze == LastStages(3)
    chosen = [row for row in found.rows if row["weight"]]
    assert [(row["candidate"], row["epochs"]) for row in chosen] == [("last 3", 8)]
    assert [row["candidate"] for row in found.rows if row["is_final"]] == ["none", "last 3", "all"]


def test_a_round_has_so_many_updates_and_none_is_done_twice(
    search: Callable[..., tuple[Found, Trainer]],
) -> None:
    _, trainer = search(min_updates=31)
    assert [epochs for _, epochs in trainer.asked] == [0] + 5 * [4] + 2 * [8], (
        "the second round asks for no more"
    )
    _, trainer = search(min_updates=10_000, max_epochs=5)
    assert {epochs for _, epochs in trainer.asked} == {0, 5}


def test_the_probe_is_enough_where_nothing_is_better(search: Callable[..., tuple[Found, Trainer]]) -> None:
    found, _ = search({**dict.fromkeys(COSTS, 1.2), "none": 1.0})
    assert found.unfreeze == "none"


def test_the_cheaper_is_taken_within_noise_alone() -> None:
    """Differences of mean 0.1 whose standard error is 0.1 or 0.01."""
    best = trial("all", np.zeros(100))
    sign = np.where(np.arange(100) % 2, 1, -1) * np.sqrt(0.99)
    unsure, sure = trial("none", 0.1 + sign * 1.0), trial("none", 0.1 + sign * 0.1)
    assert paired_difference(np.array(unsure.costs), np.zeros(100)) == pytest.approx((0.1, 0.1), rel=1e-6)
    assert cheapest_within_noise([unsure, best], noise=1.01) is unsure
    assert cheapest_within_noise([unsure, best], noise=0.99) is best
    assert cheapest_within_noise([sure, best], noise=1.01) is best
    assert cheapest_within_noise([sure, best], noise=0.0) is best
    equal = trial(LastStages(1), np.zeros(100))
    assert cheapest_within_noise([equal, best], noise=0.0) is equal


def test_a_candidate_counts_by_how_probable_it_makes_the_labels() -> None:
    """Log-losses summed over ten images: 5, 6, 7 and 5 + log 100."""
    costs = [np.full(10, total / 10) for total in (5, 6, 7, 5 + np.log(100))]
    weights = evidence_weights([trial("all", of_one) for of_one in costs])
    assert weights[1] / weights[0] == pytest.approx(np.exp(-1))
    assert weights[2] / weights[0] == pytest.approx(np.exp(-2))
    assert weights[3] == 0
    assert sum(weights) == pytest.approx(1)


def test_the_more_images_the_more_the_best_counts_alone() -> None:
    few, many = (
        evidence_weights([trial("none", np.full(count, 0.5)), trial("all", np.full(count, 0.45))])
        for count in (10, 1000)
    )
    assert few[1] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert many == [0.0, 1.0]


def test_what_counts_is_told_of_the_last_round_alone(search: Callable[..., tuple[Found, Trainer]]) -> None:
    costs = {name: cost / 20 for name, cost in COSTS.items()}
    found, _ = search(costs, take="mean")
    assert [said_in_words(name) for name, _ in found.weights] == ["none", "last 3", "all"]
    totals = {name: 40 * costs[name] for name in ("none", "last 3", "all")}
    expected = {name: np.exp(-total) for name, total in totals.items()}
    for name, weight in found.weights:
        assert weight == pytest.approx(expected[said_in_words(name)] / sum(expected.values()))
    told = {(row["candidate"], row["epochs"]): row["weight"] for row in found.rows}
    assert [named for named, weight in told.items() if weight] == [("none", 0), ("last 3", 8), ("all", 8)]
    assert found.highest_cost == pytest.approx(costs["none"] + NOISE.mean())


def test_one_that_is_taken_counts_alone(search: Callable[..., tuple[Found, Trainer]]) -> None:
    found, _ = search({name: cost / 20 for name, cost in COSTS.items()}, noise=0.0)
    assert found.weights == [(LastStages(3), 1.0)]


def test_a_single_image_has_no_error() -> None:
    assert paired_difference(np.array([2.0]), np.array([0.5])) == (1.5, 0.0)


def test_rows_tell_the_paired_difference_with_its_interval(
    search: Callable[..., tuple[Found, Trainer]],
) -> None:
    found, _ = search()
    (row,) = [row for row in found.rows if row["candidate"] == "all" and row["epochs"] == 8]
    # The same noise on both sides: the difference is known exactly, however noisy each is
    assert row["worse_than_best"] == pytest.approx(0.1)
    assert row["worse_than_best_low"] == pytest.approx(0.1)
    assert row["worse_than_best_high"] == pytest.approx(0.1)


def test_a_killed_search_goes_on_to_the_same_choice(search: Callable[..., tuple[Found, Trainer]]) -> None:
    whole, all_asked = search()
    save_points = InMemory()
    killed = Trainer(COSTS, kill_after=4)
    with pytest.raises(KeyboardInterrupt):
        search(trainer=killed, save_points=save_points)
    found, rest = search(save_points=save_points)
    assert killed.asked + rest.asked == all_asked.asked
    assert found == whole


def test_trials_of_another_search_are_not_believed(search: Callable[..., tuple[Found, Trainer]]) -> None:
    save_points = InMemory()
    search(save_points=save_points, key="one")
    _, trainer = search(save_points=save_points, key="other")
    assert len(trainer.asked) == 11
