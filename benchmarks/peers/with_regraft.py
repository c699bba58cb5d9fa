"""regraft's shipped job, a pipeline a step as `kedro run` runs it, on one thread; then other heads on cached features.

All of a step is counted: its tables, figures and MLflow's records too, and test images wherever they come along.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import tempfile
from pathlib import Path
from typing import Any

import matplotlib  # noqa: F401  (what steps load when they need it is start-up here, as for every contender)
import mlflow  # noqa: F401
import pandas as pd
import sklearn.linear_model  # noqa: F401
import timm  # noqa: F401
import torch
import yaml
from contender import Result, Task, run_contender
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

import regraft.settings  # noqa: F401  (what it asks of PyTorch is read once, before the first tensor)
from regraft.adapters.runner import StepRunner

PROJECT = Path(__file__).parents[2]
HEADS = {
    "second head: other penalties and folds": {"kind": "linear", "penalties": [0.2, 0.02], "num_folds": 4},
    "second head: one hidden layer": {"kind": "mlp"},
}


def train(task: Task, result: Result, *, engine: str = "torch") -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copy_project(project, task)
        change(project, "compute", "engine", engine)
        os.chdir(project)
        bootstrap_project(project)
        with result.phase("ingest"):
            run(project, "ingest", {})
        with result.phase("head"):
            for step in ("normalize", "build_backbone", "train_head"):
                with result.phase(f"head: {step}"):
                    run(project, step, {})
        with result.phase("fine-tune"):
            run(project, "fine_tune", {})
        with result.phase("measure"):
            run(project, "evaluate", {})
        result.accuracy = test_accuracy(project / "data")
        for phase, head in HEADS.items():
            with result.phase(phase):
                run(project, "train_head", {"train_head": {"head": head}})


def copy_project(project: Path, task: Task) -> None:
    """Code and shipped configuration, told of the images, their split, the seed and one thread."""
    for name in ("conf", "src"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", project)
    source = {"kind": "csv", "path": str(task.images / "images.csv")}
    columns = {"group_column": "group", "split_column": "split"}
    change(project, "ingest", "source", source | columns)
    change(
        project,
        "ingest",
        "split",
        {**shipped(project, "ingest")["split"], "kind": "given", "on_leak": "report"},
    )
    change(project, "fine_tune", "seed", task.seed)
    change(project, "fine_tune", "batch_size", task.batch_size)
    change(project, "compute", "num_workers", 1)


def shipped(project: Path, step: str) -> dict[str, Any]:
    return yaml.safe_load((project / "conf/base" / f"parameters_{step}.yml").read_text())[step]


def change(project: Path, step: str, key: str, value: Any) -> None:
    changed = {step: shipped(project, step) | {key: value}}
    (project / "conf/base" / f"parameters_{step}.yml").write_text(yaml.safe_dump(changed))


def run(project: Path, step: str, parameters: dict[str, Any]) -> None:
    with KedroSession.create(project_path=project, env="base", runtime_params=parameters) as session:
        session.run(pipeline_names=[step], runner=StepRunner())


def test_accuracy(data: Path) -> dict[str, float]:
    rows = pd.read_csv(data / "07_model_output/predictions.csv").query("split == 'test'")
    right = (rows["predicted"] == rows["label"]).groupby(rows["model"]).mean()
    return {"head": float(right["probe"]), "fine-tuned": float(right["fine_tuned"])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(train, "torch", "timm", "kedro", "mlflow")
