"""The wheel that `kedro package` builds, in an empty folder: no project, no pyproject.toml."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel as `package`, the configuration beside it, and one of images."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(
        PROJECT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "package")
    with tarfile.open(folder / "conf-regraft.tar.gz", "w:gz") as archive:
        archive.add(PROJECT / "conf", "conf", filter=lambda one: None if "/local/" in one.name else one)
    shapes = [sys.executable, PROJECT / "tests/pipelines/shapes.py", folder / "empty/data/01_raw/shapes"]
    subprocess.run(shapes, check=True)
    return folder


def run(installed: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KEDRO_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "regraft", *arguments],
        cwd=installed / "empty",
        env=environment | {"PYTHONPATH": str(installed / "package")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_folder(installed: Path) -> None:
    arguments = ("--pipeline", "ingest", "--env", "test", "--conf-source", "../conf-regraft.tar.gz")
    done = run(installed, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "60 images; train 30, val 12, test 18" in line
    assert (installed / "empty/data/03_primary/manifest.parquet").is_file()


@pytest.mark.slow
def test_without_configuration_it_says_so(installed: Path) -> None:
    done = run(installed, "--pipeline", "ingest")
    assert done.returncode == 1
    assert "there is no folder conf in" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_packaged_logging_is_the_projects() -> None:
    own, packaged = (
        (PROJECT / path).read_text().splitlines()[1:]
        for path in ("conf/logging.yml", "src/regraft/logging.yml")
    )
    assert own == packaged
