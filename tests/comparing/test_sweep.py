"""Settings tried, within a budget, the same whether or not a process was killed on the way."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from regraft.comparing.sweep import Outcome, Setting, Space, best_parameters, best_trial, sweep
from regraft.comparing.sweep_figure import sweep_figure
from regraft.evaluation.figure_style import png_bytes

SPACE = Space((1e-5, 1e-3), (1e-4, 0.3), ("linear", "mlp"), ("identity", "mirror"))
PRESENT = Setting(learning_rate=1e-4, weight_decay=0.01, head="linear", views="mirror")


def bowl(setting: Setting) -> Outcome:
    """Least at a learning rate of 3e-4 with mirrored views; each trial takes a minute."""
    loss = (
        0.2 + (math.log10(setting.learning_rate) - math.log10(3e-4)) ** 2 + 0.1 * (setting.views != "mirror")
    )
    return Outcome(val_log_loss=loss, val_accuracy=1 - loss / 4, best_epoch=2, seconds=60.0)


def swept(folder: Path, function: Callable[[Setting], Outcome] = bowl, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "identity": "images",
        "objective": "log_loss",
        "max_trials": 12,
        "max_seconds": 1e6,
        "seed": 0,
    }
    return sweep(function, SPACE, PRESENT, folder=folder, **settings | changes)


def test_the_present_setting_comes_first_and_the_best_beats_it(tmp_path: Path) -> None:
    found = swept(tmp_path, max_trials=30)
    first, *others = found["trials"]
    assert first["is_present"]
    assert (first["learning_rate"], first["views"]) == (1e-4, "mirror")
    assert not any(row["is_present"] for row in others)
    assert len(found["trials"]) == 30
    best = best_trial(found)
    assert best["val_log_loss"] == min(row["val_log_loss"] for row in found["trials"]) < first["val_log_loss"]
    # Optuna learns: of later trials more lie near the bottom than of those at random.
    near = [abs(math.log10(row["learning_rate"] / 3e-4)) < 0.3 for row in found["trials"]]
    assert sum(near[-10:]) > sum(near[1:9])


def test_the_same_seed_makes_the_same_trials_and_another_others(tmp_path: Path) -> None:
    one, two = swept(tmp_path / "one"), swept(tmp_path / "two")
    assert one == two
    other = swept(tmp_path / "one", seed=1)
    assert [row["learning_rate"] for row in other["trials"][1:]] != [
        row["learning_rate"] for row in one["trials"][1:]
    ]


@pytest.mark.parametrize("killed_at", [1, 5, 11])
def test_a_killed_sweep_goes_on_to_the_same_trials(tmp_path: Path, killed_at: int) -> None:
    tried: list[Setting] = []

    def until_killed(setting: Setting) -> Outcome:
        if len(tried) == killed_at:
            raise KeyboardInterrupt
        tried.append(setting)
        return bowl(setting)

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "killed", until_killed)

    def count(setting: Setting) -> Outcome:
        tried.append(setting)
        return bowl(setting)

    again = swept(tmp_path / "killed", count)
    assert again == swept(tmp_path / "whole")
    assert len(tried) == 12, "what was tried is not tried again"


def test_more_trials_later_go_on_from_those_there_are(tmp_path: Path) -> None:
    few = swept(tmp_path, max_trials=4)
    many = swept(tmp_path, max_trials=8)
    assert [row["learning_rate"] for row in many["trials"][:4]] == [
        row["learning_rate"] for row in few["trials"]
    ]
    assert [row["learning_rate"] for row in swept(tmp_path, max_trials=4)["trials"]] == [
        row["learning_rate"] for row in few["trials"]
    ]


def test_no_trial_is_begun_that_would_not_fit(tmp_path: Path) -> None:
    found = swept(tmp_path, max_seconds=60 * 5.5)
    assert len(found["trials"]) == 5
    assert found["stopped"].startswith("Stopped after 5 trials and 5.0 minutes")


def test_another_identity_is_another_journal(tmp_path: Path) -> None:
    swept(tmp_path, max_trials=2)
    swept(tmp_path, max_trials=2, identity="other images")
    assert len(list(tmp_path.glob("*.journal"))) == 2


def test_the_highest_accuracy_may_be_wanted(tmp_path: Path) -> None:
    found = swept(tmp_path, objective="accuracy")
    assert best_trial(found)["val_accuracy"] == max(row["val_accuracy"] for row in found["trials"])


def test_the_present_setting_is_left_out_where_the_space_does_not_hold_it(tmp_path: Path) -> None:
    found = sweep(
        bowl,
        SPACE,
        Setting(0.5, 0.01, "linear", "mirror"),
        identity="images",
        folder=tmp_path,
        objective="log_loss",
        max_trials=2,
        max_seconds=1e6,
        seed=0,
    )
    assert not any(row["is_present"] for row in found["trials"])
    assert len(found["trials"]) == 2


def test_the_best_settings_are_parameters_as_they_stand(tmp_path: Path) -> None:
    found = swept(tmp_path)
    best, written = best_trial(found), yaml.safe_load(best_parameters(found))
    assert written["fine_tune"]["learning_rate"] == pytest.approx(best["learning_rate"], rel=1e-5)
    assert written["fine_tune"]["views"] == best["views"]
    assert written["train_head"] == {"head": {"kind": best["head"]}}


def test_the_figure_is_the_same_for_the_same_trials(tmp_path: Path) -> None:
    found = swept(tmp_path)
    assert png_bytes(sweep_figure(found)) == png_bytes(sweep_figure(found))
