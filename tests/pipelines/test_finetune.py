"""`kedro run --env test --pipeline finetune` as a person types it: processes of their own in a copied project."""

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

sys.path.insert(
    0, str(Path(__file__).parent)
)  # pytest's import mode does not, and the drawing is a script too

import shapes

PROJECT = Path(__file__).parents[2]
STEPS = ("ingest", "normalize", "build_backbone", "train_head", "fine_tune", "evaluate", "register")
SHAPES = Path("data/01_raw/shapes")


@dataclass(frozen=True)
class Ran:
    """What a process told, and what it left in the project."""

    code: int
    out: str
    err: str
    files: dict[str, bytes]
    versions: list[tuple[str, int]]
    champion: int | None
    runs: dict[str, str]

    def step(self, name: str) -> str:
        (line,) = [line for line in self.err.splitlines() if line.split()[:1] == [name]]
        return line


def kedro_run(root: Path, *arguments: str) -> Ran:
    kept_apart = ("MLFLOW_", "KEDRO_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_apart)}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--env", "test", *arguments],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file() and not path.is_relative_to(root / SHAPES)
    }
    return Ran(done.returncode, done.stdout, done.stderr, files, *read_registry(root / "mlflow.db"))


def read_registry(database: Path) -> tuple[list[tuple[str, int]], int | None, dict[str, str]]:
    """Versions, the champion's version, and the status of each run; MLflow's client would take seconds."""
    if not database.exists():
        return [], None, {}
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        versions = connection.execute("select name, version from model_versions order by version").fetchall()
        aliases = dict(connection.execute("select alias, version from registered_model_aliases").fetchall())
        runs = dict(connection.execute("select run_uuid, status from runs").fetchall())
    return versions, aliases.get("champion"), runs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with 60 drawn pictures; what is edited meanwhile does not reach it."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    (root / "conf" / "local").mkdir()
    shutil.copy(PROJECT / "pyproject.toml", root)
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shapes.draw_shapes(root / SHAPES)
    return root


@pytest.fixture(scope="module")
def first(root: Path) -> Ran:
    return kedro_run(root, "--pipeline", "finetune")


@pytest.fixture(scope="module")
def second(root: Path, first: Ran) -> Ran:
    assert first.code == 0
    return kedro_run(root, "--pipeline", "finetune")


@pytest.fixture(scope="module")
def from_csv(root: Path, second: Ran) -> Ran:
    """The same pictures listed in a CSV: labels of its own, pictures in groups of four."""
    assert second.code == 0
    with (root / "listing.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "what", "box"])
        writer.writeheader()
        for path in sorted((root / SHAPES).rglob("*.png")):
            name = path.parent.name
            kind = "round" if name == "disc" else "angular"
            box = f"{name}-{int(path.stem) // 4}"
            writer.writerow({"file": path.relative_to(root / SHAPES).as_posix(), "what": kind, "box": box})
    changes = {
        "ingest.source.kind": "csv",
        "ingest.source.path": "listing.csv",
        "ingest.source.images": SHAPES.as_posix(),
        "ingest.source.path_column": "file",
        "ingest.source.label_column": "what",
        "ingest.source.group_column": "box",
        "ingest.split.kind": "grouped",
        "fine_tune.max_epochs": 1,
    }
    return kedro_run(root, "--params", ",".join(f"{key}={value}" for key, value in changes.items()))


def json_of(ran: Ran, path: str) -> Any:
    return json.loads(ran.files[path])


def test_first_run_tells_a_line_a_step_and_the_table(first: Ran) -> None:
    assert first.code == 0, first.err
    assert [line.split()[0] for line in first.err.splitlines()] == sorted(STEPS, key=STEPS.index)
    assert "up to date" not in first.err
    assert "60 images; train 30, val 12, test 18" in first.step("ingest")
    assert "64 px" in first.step("normalize")
    interval = r"\d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)"
    assert re.search(rf"^accuracy +{interval} +{interval}$", first.out, re.MULTILINE)
    assert re.search(r"^on test +probe +fine-tuned$", first.out, re.MULTILINE)
    assert re.search(r"^MLflow run: efficientnet_lite0-\w+ \(\w{32}\) in sqlite:", first.out, re.MULTILINE)
    assert "registered: models:/shapes-classifier/1 (challenger, champion)" in first.out
    assert "report: data/08_reporting/report.html" in first.out


def test_first_run_tells_shapes_apart(first: Ran) -> None:
    metrics = json_of(first, "data/08_reporting/metrics.json")
    for model in ("probe", "fine_tuned"):
        assert metrics["test"][model]["accuracy"]["value"] > 0.6
    assert metrics["baselines"]["majority_class"]["accuracy"]["value"] < 0.5
    assert f"{metrics['test']['fine_tuned']['accuracy']['value']:.3f}" in first.out
    head = json_of(first, "data/08_reporting/head_history.json")
    assert head["summary"]["is_converged"]
    history = json_of(first, "data/08_reporting/fine_tune_history.json")
    assert [row["epoch"] for row in history["rows"]] == [0, 1, 2]


def test_first_run_leaves_every_artefact_of_the_catalog(first: Ran) -> None:
    catalog = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
    steps = [import_module(f"regraft.pipelines.{step}").create_pipeline() for step in STEPS]
    written = set().union(*(step.all_outputs() for step in steps))
    paths = [
        entry["filepath"]
        for name, entry in catalog.items()
        if name in written and "filepath" in entry and entry.get("part") != "none"
    ]
    folders = {catalog["demo_images"]["filepath"]}  # empty: these pictures come with no package
    figures = (
        "scores",
        "confusion_matrix",
        "classes",
        "calibration",
        "training",
        "mistakes",
        "contact_sheet",
    )
    expected = {path for path in paths if "{" not in path} - folders
    expected |= {f"data/08_reporting/figures/{name}.png" for name in figures}
    expected |= {
        f"data/08_reporting/scores/{model}_{split}.json"
        for model in ("probe", "fine_tuned")
        for split in ("val", "test")
    }
    assert set(first.files) == expected
    assert all(first.files.values())


def test_first_run_registers_a_champion_in_one_finished_run(first: Ran) -> None:
    assert first.versions == [("shapes-classifier", 1)]
    assert first.champion == 1
    assert list(first.runs.values()) == ["FINISHED"]
    registration = json_of(first, "data/08_reporting/registration.json")
    assert registration["is_promoted"]
    assert registration["model"] in ("probe", "fine_tuned")


def test_the_saved_classifier_predicts_what_was_evaluated(root: Path, first: Ran, tmp_path: Path) -> None:
    """One preprocessing, one file: from the pictures themselves, equal to 1e-5."""
    from regraft.classifier import load_classifier

    for name in ("classifier.safetensors", "predictions.csv"):
        (path,) = [path for path in first.files if path.endswith(name)]
        (tmp_path / name).write_bytes(first.files[path])
    classifier = load_classifier(tmp_path / "classifier.safetensors")
    predictions = pd.read_csv(tmp_path / "predictions.csv").query("model == 'fine_tuned' and split == 'test'")
    assert classifier.label_names == ("cross", "disc", "square")
    assert len(predictions) == 18
    again = classifier.predict_images([root / path for path in predictions["path"]])
    columns = [f"p_{name}" for name in classifier.label_names]
    np.testing.assert_allclose(again, predictions[columns], rtol=0, atol=1e-5)


def test_second_run_has_nothing_to_do(first: Ran, second: Ran) -> None:
    assert second.code == 0, second.err
    for step in STEPS:
        assert "up to date" in second.step(step)
    assert len(second.err.splitlines()) == len(STEPS)
    assert "nothing has changed: no new run, the registry stays as it is" in second.out
    assert second.files == first.files
    assert (second.runs, second.versions, second.champion) == (first.runs, first.versions, first.champion)
    table = [line for line in first.out.splitlines() if line.startswith(("accuracy", "log loss"))]
    assert all(line in second.out for line in table)


def test_csv_with_labels_and_groups_is_a_source_too(from_csv: Ran) -> None:
    assert from_csv.code == 0, from_csv.err
    assert json_of(from_csv, "data/03_primary/label_names.json") == {"label": ["angular", "round"]}
    assert "60 images" in from_csv.step("ingest")
    assert "up to date" in from_csv.step("build_backbone") or "features" in from_csv.step("build_backbone")
    assert "up to date" not in from_csv.step("train_head")
    metrics = json_of(from_csv, "data/08_reporting/metrics.json")
    assert metrics["resampling"]["test"]["unit"] == "group"


def test_another_model_is_another_version_of_another_run(second: Ran, from_csv: Ran) -> None:
    assert len(from_csv.runs) == 2
    assert set(from_csv.runs.values()) == {"FINISHED"}
    assert from_csv.versions == [("shapes-classifier", 1), ("shapes-classifier", 2)]
    registration = json_of(from_csv, "data/08_reporting/registration.json")
    assert from_csv.champion == (2 if registration["is_promoted"] else 1)


def test_groups_of_the_csv_stay_together(from_csv: Ran, tmp_path: Path) -> None:
    (tmp_path / "manifest.parquet").write_bytes(from_csv.files["data/03_primary/manifest.parquet"])
    manifest = pd.read_parquet(tmp_path / "manifest.parquet")
    assert manifest.groupby("group")["split"].nunique().max() == 1
    assert manifest["group"].nunique() == 15
    assert set(manifest["split"]) == {"train", "val", "test"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--params", "fine_tune.learning_rte=0.1"),
            "OptionsError: 1 fault in the configuration: fine_tune: unknown key 'learning_rte'; "
            "did you mean 'learning_rate'?",
        ),
        (
            ("--pipeline", "finetun"),
            "ValueError: unknown pipeline 'finetun'; known: audit, build_backbone, compare, evaluate, fine_tune, "
            "finetune, ingest, normalize, predict, probe, register, sweep, train_head. "
            "Did you mean 'finetune' or 'fine_tune' or 'ingest'?",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(
    root: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    before = read_registry(root / "mlflow.db")
    ran = kedro_run(root, *arguments)
    assert (ran.code, ran.out, ran.err) == (1, "", f"{sentence}\n")
    assert (ran.versions, ran.champion, ran.runs) == before


def test_a_folder_that_is_not_there_is_one_line_and_changes_nothing(root: Path, from_csv: Ran) -> None:
    ran = kedro_run(root, "--params", "ingest.source.path=data/01_raw/shape")
    assert ran.code == 1
    *_, line = ran.err.splitlines()
    assert line.startswith("SourceError: the folder 'data/01_raw/shape' (ingest.source.path) is not there.")
    assert line.endswith("Did you mean 'shapes'?")
    assert "Traceback" not in ran.err
    assert (ran.versions, ran.champion) == (from_csv.versions, from_csv.champion)
    changed = {path for path in from_csv.files if ran.files.get(path) != from_csv.files[path]}
    assert changed <= {"data/05_model_input/preprocessing.json"}
