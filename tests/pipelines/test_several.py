"""`kedro run --env test --pipeline finetune` with several targets: classes, a number and a point of drawn pictures."""

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

sys.path.insert(
    0, str(Path(__file__).parent)
)  # pytest's import mode does not, and the drawing is a script too

import shapes
from test_finetune import SHAPES, Ran, kedro_run

PROJECT = Path(__file__).parents[2]
SIZE = 64
TARGETS = {
    "shape": {"kind": "classes", "column": "shape"},
    "light": {"kind": "number", "column": "light"},
    "place": {"kind": "points", "first_column": "x", "last_column": "y"},
}
IDENTITY = {"views": "identity", "predict_views": "identity"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with 60 drawn pictures, and a table of what they show: which shape, how light the picture
    is, and the middle of its light pixels."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shapes.draw_shapes(root / SHAPES, size=SIZE)
    with (root / "listing.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "shape", "light", "x", "y"])
        for path in sorted((root / SHAPES).rglob("*.png")):
            pixels = np.asarray(Image.open(path)).astype(float)
            rows, columns = np.nonzero(pixels.max(axis=2) > 120)
            relative = path.relative_to(root / SHAPES).as_posix()
            writer.writerow([relative, path.parent.name, pixels.mean(), columns.mean(), rows.mean()])
    configure(root, TARGETS)
    return root


def configure(root: Path, targets: dict[str, Any]) -> None:
    """Lay settings over those of `--env test`."""
    source = {"kind": "csv", "path": "listing.csv", "images": SHAPES.as_posix(), "targets": targets}
    changes = {
        "ingest": {"source": source},
        "fine_tune": IDENTITY,
        "build_backbone": {"pooling": "mean_and_grid", "cut": "blocks.4"},
    }
    for step, values in changes.items():
        file = root / "conf" / "test" / f"parameters_{step}.yml"
        settings = yaml.safe_load(file.read_text())
        settings[step] |= values
        file.write_text(yaml.safe_dump(settings))


@pytest.fixture(scope="module")
def first(root: Path) -> Ran:
    ran = kedro_run(root, "--pipeline", "finetune", "--params", "fine_tune.unfreeze=last 1")
    assert ran.code == 0, ran.err
    return ran


def test_every_target_is_learnt_measured_and_told(root: Path, first: Ran) -> None:
    metrics = json.loads((root / "data/08_reporting/metrics.json").read_text())
    test = metrics["test"]["fine_tuned"]
    constant = metrics["baselines"]["constant"]
    for name, is_more in (
        ("shape.accuracy", True),
        ("light.mean_absolute_error", False),
        ("place.mean_distance", False),
    ):
        found, without = test[name], constant[name]
        assert found["low"] <= found["value"] <= found["high"]
        assert (found["value"] > without["value"]) == is_more, name
        assert name.replace(".", " ").split()[0] in first.out
    assert metrics["test"]["difference"].keys() == test.keys()
    predictions = pd.read_csv(root / "data/07_model_output/predictions.csv")
    rows = predictions[(predictions["split"] == "test") & (predictions["model"] == "fine_tuned")]
    error = (rows["light.predicted"] - rows["light.true"]).abs().mean()
    assert test["light.mean_absolute_error"]["value"] == pytest.approx(error, rel=1e-12)
    distance = np.hypot(
        rows["place.predicted_x0"] - rows["place.true_x0"], rows["place.predicted_y0"] - rows["place.true_y0"]
    ).mean()
    assert test["place.mean_distance"]["value"] == pytest.approx(distance, rel=1e-12)
    right = (rows["shape.predicted_name"] == rows["shape.true_name"]).mean()
    assert test["shape.accuracy"]["value"] == pytest.approx(right)


def test_the_report_and_the_card_speak_of_every_target(root: Path, first: Ran) -> None:
    page = (root / "data/08_reporting/report.html").read_text()
    card = (root / "data/08_reporting/model_card.md").read_text()
    for text in (page, card):
        for name in TARGETS:
            assert name in text
    figures = {path.stem for path in (root / "data/08_reporting/figures").glob("*.png")}
    assert {"scores", "confusion_matrix", "classes", "calibration", "training", "mistakes"} <= figures


def test_the_chosen_model_becomes_champion_and_answers_as_it_was_measured(root: Path, first: Ran) -> None:
    with sqlite3.connect(f"file:{root / 'mlflow.db'}?mode=ro", uri=True) as connection:
        aliases = dict(connection.execute("select alias, version from registered_model_aliases").fetchall())
    assert set(aliases) == {"champion", "challenger"}
    script = (
        "import mlflow, sys, base64, json, pathlib\n"
        "mlflow.set_tracking_uri('sqlite:///mlflow.db')\n"
        "from mlflow import MlflowClient\n"
        "(model,) = MlflowClient().search_registered_models()\n"
        "served = mlflow.pyfunc.load_model(f'models:/{model.name}@champion')\n"
        "image = base64.b64encode(pathlib.Path(sys.argv[1]).read_bytes()).decode()\n"
        "(said,) = served.predict([{'image': image}])\n"
        "print(json.dumps(said if isinstance(said, dict) else said.model_dump()))\n"
    )
    registration = json.loads((root / "data/08_reporting/registration.json").read_text())
    predictions = pd.read_csv(root / "data/07_model_output/predictions.csv")
    rows = predictions[(predictions["split"] == "test") & (predictions["model"] == registration["model"])]
    row = rows.iloc[0]
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, row["path"]],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.dumps(json.loads(done.stdout.splitlines()[-1]))
    numbers = [float(token) for token in _numbers(said)]
    for column in (
        "light.predicted",
        "place.predicted_x0",
        "place.predicted_y0",
        f"shape.p_{row['shape.predicted_name']}",
    ):
        assert min(abs(number - row[column]) for number in numbers) < 1e-5 * max(1, abs(row[column])), column


def _numbers(text: str) -> list[str]:
    return [
        token
        for token in text.replace("[", " ").replace("]", " ").replace(",", " ").replace("}", " ").split()
        if _is_number(token)
    ]


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def test_files_without_labels_are_predicted(root: Path, first: Ran) -> None:
    ran = kedro_run(root, "--pipeline", "predict", "--params", f"predict.images={SHAPES.as_posix()}/disc")
    assert ran.code == 0, ran.err
    table = pd.read_csv(root / "data/07_model_output/file_predictions.csv")
    assert len(table) == 20
    assert {"shape", "light"} <= set(table.columns)
    assert (table["shape"] == "disc").mean() > 0.5


def test_the_same_again_is_no_better_and_changes_nothing(root: Path, first: Ran) -> None:
    again = kedro_run(root, "--pipeline", "finetune", "--params", "fine_tune.unfreeze=last 1")
    assert again.code == 0
    assert "nothing has changed" in again.out
    other = kedro_run(
        root,
        "--pipeline",
        "finetune",
        "--params",
        "fine_tune.unfreeze=none,train_head.head.penalties=[100.0]",
    )
    assert other.code == 0, other.err
    registration = json.loads((root / "data/08_reporting/registration.json").read_text())
    comparison = registration["comparison"]
    assert comparison["num_images_in_common"] == comparison["num_images"]
    assert comparison["candidate_loss"] > comparison["champion_loss"], "a penalty far too strong"
    assert set(comparison["targets"]) == set(TARGETS)
    assert not registration["is_promoted"]
    assert "Not promoted" in other.out


def test_the_depth_may_be_chosen_by_probes_of_all_targets(root: Path, first: Ran) -> None:
    ran = kedro_run(
        root, "--pipeline", "finetune", "--to-nodes", "train_head", "--params", "build_backbone.cut=auto"
    )
    assert ran.code == 0, ran.err
    stages = json.loads((root / "data/05_model_input/head_stages.json").read_text())
    assert "joint-loss" in stages["reason"]
    assert stages["stages"][-1] == stages["depth_scores"]["choice"]["last"]["stage"]


def test_other_targets_are_not_compared_with_the_champion(root: Path, first: Ran) -> None:
    configure(root, {name: TARGETS[name] for name in ("shape", "light")})
    other = kedro_run(root, "--pipeline", "finetune", "--params", "fine_tune.unfreeze=none")
    configure(root, TARGETS)
    assert other.code == 0, other.err
    registration = json.loads((root / "data/08_reporting/registration.json").read_text())
    assert not registration["is_promoted"]
    assert any("target" in reason for reason in registration["reasons"])


@pytest.mark.parametrize("step", ["audit", "sweep"])
def test_steps_of_one_label_are_refused_in_a_sentence(root: Path, step: str) -> None:
    ran = kedro_run(root, "--pipeline", step)
    assert ran.code != 0
    assert f"the step '{step}' knows one label" in ran.err


def test_a_value_that_is_no_number_is_told_with_its_file(root: Path) -> None:
    text = (root / "listing.csv").read_text()
    rows = list(csv.reader(io.StringIO(text)))
    rows[3][2] = "bright"
    with (root / "broken.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    ran = kedro_run(root, "--pipeline", "ingest", "--params", "ingest.source.path=broken.csv")
    assert ran.code != 0
    assert "target 'light': 1 rows have no number" in ran.err
    assert "'bright'" in ran.err
