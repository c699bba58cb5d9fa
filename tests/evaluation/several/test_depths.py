"""Probes of every depth where several targets are learnt."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.evaluation.depth_figure import depth_figure
from regraft.evaluation.depth_report import depth_table, render_depths
from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.several.depths import score_several_depths
from regraft.training.linear_probe import SolverSettings

SETTINGS = SolverSettings((1.0, 0.1, 0.01), num_folds=4, tolerance=1e-4, max_iterations=500, seed=0)
BOOTSTRAP = Bootstrap(200, 0.95, 0)
DIMS = {"stem": 4, "middle": 6, "end": 5}
TARGETS: list[dict[str, Any]] = [
    {"name": "sex", "kind": "classes", "label_names": ["f", "m"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 1, "partners": [0]},
]
METRICS = ["joint_loss", "sex.accuracy", "age.mean_absolute_error", "face.mean_distance"]


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, pd.DataFrame]:
    """Features of which those of the middle stage tell everything, the last little, the first nothing."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(160, 15)).astype(np.float32)
    known = features[:, 4:10] @ generator.normal(size=(6, 4)) + 0.2 * generator.normal(size=(160, 4))
    features[:, 10:12] += known[:, :2] * 0.3
    manifest = pd.DataFrame(
        {
            "split": np.array(["train"] * 120 + ["val"] * 20 + ["test"] * 20),
            "label": (known[:, 0] > 0).astype(int),
            "group": None,
            "target_sex": (known[:, 0] > 0).astype(int),
            "target_age": 40 + 10 * known[:, 1],
            "target_face.x0": 0.5 + 0.1 * known[:, 2],
            "target_face.y0": 0.5 + 0.1 * known[:, 3],
        }
    )
    return features, manifest


@pytest.fixture(scope="module")
def scores(table: tuple[np.ndarray, pd.DataFrame]) -> dict[str, Any]:
    features, manifest = table
    return score_several_depths(features, DIMS, manifest, TARGETS, settings=SETTINGS, bootstrap=BOOTSTRAP)


def test_the_stage_that_tells_most_of_all_targets_is_chosen(scores: dict[str, Any]) -> None:
    assert scores["metrics"] == METRICS
    assert scores["metric"] == "joint_loss"
    assert scores["choice"]["last"]["stage"] == "middle"
    assert [row["stage"] for row in scores["rows"]] == list(DIMS)
    stem, middle, _ = (row["last"] for row in scores["rows"])
    assert middle["sex.accuracy"]["value"] > 0.85 > stem["sex.accuracy"]["value"]
    assert middle["age.mean_absolute_error"]["value"] < 0.5 * stem["age.mean_absolute_error"]["value"]
    assert middle["face.mean_distance"]["low"] < middle["face.mean_distance"]["value"]


def test_the_best_depth_costs_half_a_nat_a_number_and_a_log_loss_a_class(scores: dict[str, Any]) -> None:
    best = min(
        (row[kind] for row in scores["rows"] for kind in ("last", "concat")),
        key=lambda of: of["joint_loss"]["value"],
    )
    classes = best["joint_loss"]["value"] - 2 * 0.5
    assert -0.05 < classes < 0.5, "numbers and points cost half a nat each at their best"


def test_val_and_test_are_not_looked_at(
    table: tuple[np.ndarray, pd.DataFrame], scores: dict[str, Any]
) -> None:
    features, manifest = table
    other = features.copy()
    other[120:] = 1e6
    changed = manifest.assign(
        **{"target_age": manifest["target_age"].where(manifest["split"] == "train", -1.0)}
    )
    again = score_several_depths(other, DIMS, changed, TARGETS, settings=SETTINGS, bootstrap=BOOTSTRAP)
    assert again == scores


def test_the_table_the_page_and_the_figure_tell_every_target(scores: dict[str, Any]) -> None:
    first, _, *rows = depth_table(scores)
    assert first == "joint loss on 120 held-out training images"
    assert len(rows) == len(DIMS)
    assert sum(row.count("*") for row in rows) == 2
    figure = depth_figure(scores)
    assert len(figure.axes) == len(METRICS)
    page = render_depths(scores, figure, title="small: how deep to cut")
    for heading in (
        "Joint loss",
        "sex: accuracy",
        "age: mean absolute error",
        "face: mean distance",
        "Joint loss minus best",
    ):
        assert heading in page


def test_features_of_another_network_are_refused(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    with pytest.raises(ValueError, match="15 features, but the stages have 14"):
        score_several_depths(
            features, {"stem": 4, "end": 10}, manifest, TARGETS, settings=SETTINGS, bootstrap=BOOTSTRAP
        )
