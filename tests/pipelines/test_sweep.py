"""`kedro run --env test --pipeline sweep` as a person types it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

import shapes

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_a_sweep_writes_parameters_that_the_main_job_takes(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("src", "conf", "pyproject.toml", ".telemetry"):
        source = PROJECT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name)
    shapes.draw_shapes(root / "data" / "01_raw" / "shapes")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kedro", "run", "--env", "test", "--pipeline", "sweep"),
            *("--params", "sweep.max_trials=2"),
        ],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = root / "data" / "08_reporting" / "sweep"
    trials = json.loads((folder / "trials.json").read_text())["trials"]
    assert len(trials) == 2
    written = yaml.safe_load((folder / "best_parameters.yml").read_text())
    best = next(row for row in trials if row["is_best"])
    assert written["fine_tune"]["views"] == best["views"]
    assert "to use them: cp data/08_reporting/sweep/best_parameters.yml" in done.stdout
