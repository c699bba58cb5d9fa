"""The notebooks, and the Python of docs/serving.md, run against what a finished run leaves behind."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# 36 images of 40×32 pixels in 12 groups; 64 px and one epoch: the smallest job that has everything in it.
TINY = """
ingest: {source: {kind: csv, path: data/01_raw/mine.csv, group_column: group}}
normalize: {fit: crop, size: 64}
fine_tune: {unfreeze: {last: 1}, max_epochs: 1, views: mirror, predict_views: mirror}
evaluate: {num_resamples: 100}
register: {num_resamples: 100}
"""


@pytest.fixture(scope="module")
def finished_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the main job has ended, on images of bright and dark noise."""
    project = tmp_path_factory.mktemp("finished") / "project"
    project.mkdir()
    shutil.copy(ROOT / "pyproject.toml", project)
    for folder in ("conf/base", "docs", "src", "notebooks"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "conf" / "logging.yml", project / "conf")
    (project / "conf" / "local").mkdir()
    (project / "conf" / "local" / "parameters.yml").write_text(TINY)
    write_images(project / "data" / "01_raw")
    command = [sys.executable, "-m", "kedro", "run", "--pipeline", "finetune"]
    done = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return project


def write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    lines = ["path,label,group"]
    for number in range(36):
        label, group = ("dark", "bright")[number % 2], f"panel-{number // 3:02d}"
        pixels = generator.integers(0, 156, (32, 40, 3)) + 100 * (number % 2)
        (folder / "mine" / label).mkdir(parents=True, exist_ok=True)
        path = Path("mine") / label / f"{number:02d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / path)
        lines.append(f"{path.as_posix()},{label},{group}")
    (folder / "mine.csv").write_text("\n".join(lines) + "\n")


def environment(project: Path) -> dict[str, str]:
    """The copy's code and its own MLflow file, whatever the shell says."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "DVC_", "KEDRO_"))
    }
    return kept | {"PYTHONPATH": str(project / "src"), "IPYTHONDIR": str(project / ".ipython")}


def execute(path: Path, project: Path) -> Any:
    from nbclient import NotebookClient
    from traitlets.config import Config

    with tempfile.TemporaryDirectory() as sockets:
        # A kernel on TCP would listen on the machine's ports; a socket's path must be short.
        settings = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
        client = NotebookClient(
            nbformat.read(path, as_version=4),
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            config=settings,
        )
        return client.execute(env=environment(project))


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.name for path in NOTEBOOKS])
def test_notebook_runs_and_shows_something_in_every_cell(finished_project: Path, name: str) -> None:
    before = files_of(finished_project)
    notebook = execute(finished_project / "notebooks" / name, finished_project)
    assert files_of(finished_project) == before, "a notebook is for looking"
    silent = [
        cell.source
        for cell in notebook.cells[1:]
        if cell.cell_type == "code" and "load_ext" not in cell.source and not cell.outputs
    ]
    assert not silent
    text = nbformat.writes(notebook)
    assert "image/png" in text
    assert "Traceback" not in text


@pytest.mark.slow
def test_python_of_the_serving_page_runs(finished_project: Path) -> None:
    page = (finished_project / "docs" / "serving.md").read_text("utf-8")
    from_file, from_registry, _through_http = re.findall(
        r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    new_images = finished_project / "new_images"
    new_images.mkdir()
    for path in sorted((finished_project / "data/01_raw/mine").rglob("*.png"))[::12]:
        shutil.copy(path, new_images)
    script = f"{from_file}\n{from_registry}\nprint(model.metadata.signature.inputs)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=finished_project,
        env=environment(finished_project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("new_images/") == 3
    assert "image: string" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_is_committed_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def files_of(project: Path) -> dict[str, int]:
    """What is in `data/` and in MLflow's file, by size and time of change."""
    files = [*(project / "data").rglob("*"), project / "mlflow.db"]
    return {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}
