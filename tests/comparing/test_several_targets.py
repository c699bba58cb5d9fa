"""Candidates compared by several targets: classes, a number and points, judged by their joint loss."""

import json
import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tried_sample import FACTS

from regraft.adapters.closing_lines import comparison_lines
from regraft.comparing.comparison import compare_models, flat_metrics, plain_table
from regraft.comparing.figures import comparison_figure
from regraft.comparing.finalists import Standing, rank_probes, standing_of
from regraft.comparing.one_label import LabelTask
from regraft.comparing.page import headline, render_comparison, verdict
from regraft.comparing.several_targets import TargetsTask
from regraft.comparing.task import task_for
from regraft.comparing.tried import Tried
from regraft.evaluation.figure_style import png_bytes
from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.several.scores import MAX_SHOWN
from regraft.images.target_columns import manifest_columns
from regraft.training.linear_probe import SolverSettings

BOOTSTRAP = Bootstrap(num_resamples=300, confidence=0.95, seed=0)
SOLVER = SolverSettings(penalties=(1.0, 0.1), num_folds=3, tolerance=1e-4, max_iterations=500, seed=0)
TARGETS: list[dict[str, Any]] = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 2, "partners": None},
]
TASK = TargetsTask(TARGETS)


def make_manifest(num_images: int = 400, seed: int = 0) -> pd.DataFrame:
    """Half of the images to learn from, a quarter in val, a quarter in test."""
    generator = np.random.default_rng(seed)
    gender = generator.integers(0, 2, num_images)
    true = {"gender": gender, "age": generator.normal(40, 15, num_images)}
    faces = generator.uniform(0.2, 0.8, (num_images, 4))
    return pd.DataFrame(
        {
            "split": np.repeat(["train", "val", "test"], [num_images // 2, num_images // 4, num_images // 4]),
            "label": gender,
            "group": None,
            **{manifest_columns(target)[0]: true[target["name"]] for target in TARGETS[:2]},
            **dict(zip(manifest_columns(TARGETS[2]), faces.T, strict=True)),
        }
    )


MANIFEST = make_manifest()


def answers(manifest: pd.DataFrame, error: float, seed: int) -> np.ndarray:
    """`(N, 7)`: the more wrong the greater the error, of which 1 is that of who knows little."""
    generator = np.random.default_rng(seed)
    noise = error * generator.normal(size=(len(manifest), 6))
    logit = 2 * (2 * manifest["target_gender"] - 1) + 3 * noise[:, 0]
    male = 1 / (1 + np.exp(-logit))
    age = manifest["target_age"] + 15 * noise[:, 1]
    face = manifest[manifest_columns(TARGETS[2])].to_numpy() + 0.2 * noise[:, 2:]
    return np.column_stack([1 - male, male, age, face])


def tried(
    label: str, error: float, *, variant: Any = "probe", test: float | None = None, **facts: Any
) -> Tried:
    splits = {"held_out": ("train", "val"), "val": ("val",), "test": ("test",)}
    errors = {"held_out": error, "val": error, "test": error if test is None else test}
    own = FACTS if variant == "probe" else {"seconds": 120.0, "cpu_seconds": 200.0, "best_epoch": 3}
    return Tried(
        label,
        variant,
        {
            evidence: answers(MANIFEST[MANIFEST["split"].isin(splits[evidence])], errors[evidence], seed=7)
            for evidence in splits
        },
        own | facts,
    )


MODELS = (
    tried("poor", 1.0),
    tried("good", 0.4),
    tried("good", 0.3, variant="fine_tuned"),
    tried("near", 0.41),
)


def compared(*several: Tried, task: Any = TASK, metric: str = "accuracy") -> dict[str, Any]:
    outcomes = {one.label: f"{one.label} was tried." for one in several}
    return compare_models(
        several, MANIFEST, task, outcomes=outcomes, selection_metric=metric, bootstrap=BOOTSTRAP
    )


def test_the_kind_of_task_follows_from_whether_there_are_targets() -> None:
    assert task_for({"label": ["a", "b"]}, TARGETS) == TASK
    assert task_for({"label": ["a", "b"]}, []) == LabelTask({"label": ["a", "b"]})


def test_the_joint_loss_of_a_row_is_that_by_hand() -> None:
    """One image of test a model: by classes −ln p, by the age and the face half their squared errors in units."""
    manifest = pd.DataFrame(
        {
            "split": ["train", "val", "test"],
            "label": 0,
            "group": None,
            "target_gender": [0, 0, 1],
            "target_age": [30.0, 30.0, 30.0],
            **dict.fromkeys(manifest_columns(TARGETS[2]), 0.5),
        }
    )
    said = {  # of the better probe the age is off by 2, each coordinate by 0.1; of the other by 8 and 0.1
        "better": np.array([0.5, 0.5, 32.0, 0.6, 0.6, 0.6, 0.6]),
        "other": np.array([0.5, 0.5, 38.0, 0.6, 0.6, 0.6, 0.6]),
    }
    probes = [Tried(label, "probe", {"held_out": np.tile(one, (2, 1))}, {}) for label, one in said.items()]
    judge = TASK.judge(probes, manifest)
    assert judge.units == pytest.approx({"age": 4.0, "face": 0.01})
    answer = np.array(
        [[0.8, 0.2, 34.0, 0.5, 0.5, 0.5, 0.7]]
    )  # off by 4 years, one of four coordinates by 0.2
    expected = -math.log(0.2) + 16 / (2 * 4) + 0.01 / (2 * 0.01)
    test = manifest[manifest["split"] == "test"]
    assert judge.image_scores(answer, test) == pytest.approx([expected])
    assert judge.measured(answer, test)["joint_loss"].value == pytest.approx(expected)


def test_the_unit_is_the_least_error_of_all_probes_and_one_for_all_models() -> None:
    seen = MANIFEST[MANIFEST["split"] != "test"]
    good = MODELS[1].probabilities["held_out"]
    least = float(((good[:, 2] - seen["target_age"]) ** 2).mean())
    comparison = compared(*MODELS)
    assert comparison["loss_units"]["age"] == pytest.approx(least)
    assert compared(*reversed(MODELS))["loss_units"] == comparison["loss_units"]
    without_tuned = compared(*(one for one in MODELS if one.variant == "probe"))
    assert without_tuned["loss_units"] == comparison["loss_units"]


def test_the_joint_loss_chooses_on_val_whatever_metric_is_asked_for() -> None:
    comparison = compared(*MODELS)
    assert comparison["selection_metric"] == "joint_loss"
    assert comparison["chosen"] == {"model": "good", "variant": "fine_tuned"}
    assert [row["model"] for row in comparison["models"]] == ["good", "near", "poor"]
    assert compared(*MODELS, metric="log_loss") == comparison
    lucky = (tried("a", 0.5, test=0.1), tried("b", 0.3, test=0.9))
    assert compared(*lucky)["chosen"]["model"] == "b", "test does not choose"


def test_a_real_difference_in_joint_loss_is_clear_and_above_zero_is_worse() -> None:
    comparison = compared(MODELS[0], MODELS[1])
    good, poor = comparison["models"]
    loss = {row["model"]: row["test"]["probe"]["joint_loss"]["value"] for row in comparison["models"]}
    assert poor["difference"]["value"] == pytest.approx(loss["poor"] - loss["good"])
    assert poor["difference"]["is_clear"]
    assert poor["difference"]["low"] > 0
    assert verdict(comparison) == "Surely worse on test: poor."
    twin = compared(tried("good", 0.4), tried("twin", 0.4, images_per_second=50.0))
    assert not twin["models"][1]["difference"]["is_clear"]
    assert "Not to be told apart from it on these images: twin." in verdict(twin)
    assert good["difference"] is None


def ranked(*probes: Tried, slack: float) -> list[Standing]:
    return rank_probes(probes, MANIFEST, TASK, slack=slack, bootstrap=BOOTSTRAP)


def test_probes_are_ranked_by_joint_loss_and_slack_is_a_fraction_of_the_best_one() -> None:
    poor, good, near = MODELS[0], MODELS[1], MODELS[3]
    first, second, third = ranked(poor, good, near, slack=0.05)
    assert [one.label for one in (first, second, third)] == ["good", "near", "poor"]
    assert first.metric == "joint_loss"
    assert third.score - first.score == pytest.approx(third.difference)
    assert third.low > 0.05 * first.score
    assert (first.can_win, second.can_win, third.can_win) == (True, True, False)
    enough = third.low / first.score
    assert ranked(poor, good, near, slack=1.01 * enough)[2].can_win
    assert not ranked(poor, good, near, slack=0.99 * enough)[2].can_win


def test_standings_survive_json_under_the_name_of_their_metric() -> None:
    *_, poor = ranked(*MODELS[:2], slack=0.0)
    row = json.loads(json.dumps(poor.as_dict()))
    assert row["joint_loss"] == poor.score
    assert standing_of(row) == poor
    of_label = Standing("one", 0.9, 0.0, 0.0, 0.0, True)
    assert list(of_label.as_dict()) == ["label", "accuracy", "difference", "low", "high", "can_win"]
    assert standing_of(of_label.as_dict()) == of_label


def test_features_that_tell_more_give_the_better_probe() -> None:
    """Each target is linear in the features; noise is drawn on one of two sets of them."""
    seen = MANIFEST[MANIFEST["split"].isin(("train", "val"))].reset_index(drop=True)
    generator = np.random.default_rng(0)
    telling = (seen[["target_gender", "target_age", *manifest_columns(TARGETS[2])]]).to_numpy()
    telling = (telling - telling.mean(axis=0)) / telling.std(axis=0)
    probes = []
    for label, noise in (("blurred", 2.0), ("sharp", 0.3)):
        features = (telling + noise * generator.normal(size=telling.shape)).astype(np.float32)
        held_out = TASK.held_out(features, seen, SOLVER)
        assert held_out.shape == (len(seen), 7)
        assert np.isfinite(held_out).all()
        assert held_out[:, :2].sum(axis=1) == pytest.approx(1)
        probes.append(Tried(label, "probe", {"held_out": held_out}, {}))
    sharp, blurred = ranked(*probes, slack=0.02)
    assert (sharp.label, blurred.label) == ("sharp", "blurred")
    assert not blurred.can_win


def test_the_same_is_told_as_table_metrics_and_json() -> None:
    comparison = compared(*MODELS)
    assert json.loads(json.dumps(comparison)) == comparison
    assert comparison["targets"] == TARGETS
    best = comparison["models"][0]["test"]["fine_tuned"]
    table = plain_table(comparison)
    for metric in ("joint_loss", "gender.accuracy", "age.mean_absolute_error", "face.mean_distance"):
        assert table[f"test_{metric}"][0] == best[metric]["value"]
        assert flat_metrics(comparison["models"][0])[f"test/{metric}"] == best[metric]["value"]
    assert {"val_joint_loss", "test_age.mean_absolute_error_low"} <= set(table.columns)


def test_the_page_and_the_terminal_hold_each_target() -> None:
    comparison = compared(*MODELS)
    figure = comparison_figure(comparison)
    assert png_bytes(figure) == png_bytes(comparison_figure(comparison))
    page = render_comparison(comparison, figure, settings={"compare": {"slack": 0.02}})
    lines = comparison_lines(comparison, minutes=1.0, tracking=[])
    told = "\n".join(lines)
    for words in ("gender accuracy", "age mean absolute error", "face mean distance"):
        assert words in page
        assert words in headline(comparison)
        assert words in told
    assert "Joint loss, test" in page
    assert "Difference, nats" in page
    assert "joint loss, test" in told
    assert "difference, nats" in told
    assert page.count("<b>") == sum(row["difference"]["is_clear"] for row in comparison["models"][1:])
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page asks nothing of a network"
    assert max(map(len, lines)) <= 131
    rows = lines[2 : 2 + len(comparison["models"])]
    assert all(re.search(r"\)  +(chosen|-?\d)", row) for row in rows), "columns do not touch"


def test_of_many_targets_the_first_are_shown_and_the_table_has_all() -> None:
    many = [{"name": f"number{place}", "kind": "number"} for place in range(MAX_SHOWN + 2)]
    manifest = MANIFEST.assign(
        **{column: MANIFEST["target_age"] for target in many for column in manifest_columns(target)}
    )
    models = []
    for label, error in (("one", 1.0), ("other", 3.0)):
        said = {
            evidence: np.tile(manifest.loc[manifest["split"].isin(splits), ["target_age"]] + error, len(many))
            for evidence, splits in (("held_out", ("train", "val")), ("val", ("val",)), ("test", ("test",)))
        }
        models.append(Tried(label, "probe", said, FACTS))
    comparison = compare_models(
        models,
        manifest,
        TargetsTask(many),
        outcomes={"one": "Tried.", "other": "Tried."},
        selection_metric="log_loss",
        bootstrap=BOOTSTRAP,
    )
    page = render_comparison(comparison, comparison_figure(comparison), settings={})
    assert f"The first {MAX_SHOWN} of {MAX_SHOWN + 2} targets" in page
    assert f"number{MAX_SHOWN} mean absolute error" not in page
    lines = "\n".join(comparison_lines(comparison, minutes=1.0, tracking=[]))
    assert "number2" in lines
    assert "number3" not in lines
    assert sum(column.endswith("error") for column in plain_table(comparison)) == MAX_SHOWN + 2
