"""`regraft rebuild` as a person types it: a model of drawn shapes made, made again, and made again of other images."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from PIL import Image

sys.path.insert(
    0, str(Path(__file__).parent)
)  # pytest's import mode does not, and the drawing is a script too

import shapes

PROJECT = Path(__file__).parents[2]
SHAPES = Path("data/01_raw/shapes")
ADDRESS = "models:/shapes-classifier/1"
# Loaded by every Python process that has it on its path: whoever opens a connection is written down and refused.
NO_NETWORK = """
import pathlib, socket

def refuse(self, address):
    if self.family != socket.AF_UNIX:
        with (pathlib.Path(__file__).parent / "connections.txt").open("a") as file:
            file.write(f"{address}\\n")
        raise OSError("no network here")

socket.socket.connect = refuse
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project under git, with 60 drawn pictures that git does not know."""
    root = tmp_path_factory.mktemp("rebuilt") / "project"
    root.mkdir()
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    (root / "conf/local").mkdir()
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "requirements.lock", ".gitignore"):
        shutil.copy(PROJECT / name, root)
    for command in (["init"], ["add", "."], ["commit", "-m", "one"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(root), *who, *command], check=True, capture_output=True)
    shapes.draw_shapes(root / SHAPES)
    return root


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ran]:
    offline = tmp_path_factory.mktemp("offline")
    (offline / "sitecustomize.py").write_text(NO_NETWORK)
    kept_apart = ("MLFLOW_", "KEDRO_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_apart)}
    environment |= {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{offline}", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> Ran:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert not (offline / "connections.txt").exists(), (offline / "connections.txt").read_text()
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def made(root: Path, run: Callable[..., Ran]) -> Path:
    """The project with version 1 in its registry, made with a parameter that no file has."""
    ran = run("kedro", "run", "--env", "test", "--pipeline", "finetune", "--params", "fine_tune.seed=3")
    assert ran.code == 0, ran.err
    return root


@pytest.fixture(scope="module")
def rebuilt(
    made: Path, run: Callable[..., Ran], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ran, Path]:
    folder = tmp_path_factory.mktemp("clean")
    return run("regraft", "rebuild", ADDRESS, "--into", str(folder)), folder


@pytest.fixture
def changed_image(made: Path) -> Iterator[Path]:
    """One pixel of one picture, put back afterwards."""
    path = made / SHAPES / "cross" / "03.png"
    before = path.read_bytes()
    image = Image.open(path).copy()
    image.putpixel((0, 0), (200, 200, 200))
    image.save(path)
    yield path
    path.write_bytes(before)


def files_of(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".git", "__pycache__"} & {*path.relative_to(root).parts}
    }


def test_the_receipt_speaks_of_this_run(made: Path) -> None:
    (path,) = (made / "mlartifacts").rglob("receipt.json")
    receipt = json.loads(path.read_text())
    head = subprocess.run(
        ["git", "-C", str(made), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert receipt["code"]["commit"] == head.stdout.strip()
    assert (receipt["code"]["changed"], receipt["unverified"]) == ([], [])
    assert receipt["seeds"]["fine_tune.seed"] == 3
    assert receipt["num_images"] == 60
    assert "data/06_models/classifier.safetensors" in receipt["files"]
    assert not [name for name in receipt["files"] if name.endswith(("registration.json", "model_card.md"))]
    with closing(sqlite3.connect(made / "mlflow.db")) as database:
        tags = dict(database.execute("select key, value from model_version_tags").fetchall())
    assert receipt["data_sha256"] == tags["data_sha256"]
    assert receipt["weights"]["sha256"] == tags["weights_sha256"]
    assert receipt["result"]["classifier_sha256"] == tags["classifier_sha256"]


def test_a_model_made_again_is_identical(rebuilt: tuple[Ran, Path]) -> None:
    ran, folder = rebuilt
    assert ran.code == 0, ran.err + ran.out
    lines = ran.out.splitlines()
    assert lines[1] == ADDRESS
    assert sum(line.endswith("the same") for line in lines) == 11
    assert lines[-2:] == ["identical", f"kept: {folder.resolve().as_posix()}"]
    classifiers = [path.read_bytes() for path in folder.rglob("artifacts/classifier.safetensors")]
    assert len(classifiers) == 1


def test_making_again_changes_nothing_here(made: Path, run: Callable[..., Ran], changed_image: Path) -> None:
    """And a changed image is named."""
    before = files_of(made)
    ran = run("regraft", "rebuild", "models:/shapes-classifier@champion")
    assert ran.code == 1, ran.err + ran.out
    assert files_of(made) == before
    told = ran.out.splitlines()
    assert "* images: 1 with other bytes: data/01_raw/shapes/cross/03.png." in told
    assert "data/01_raw/shapes is not as it was, and neither git nor DVC's cache has it as it was" in ran.err
    assert any(
        re.match(r"\* files: \d+ of \d\d differ, the first being data/02_intermediate/image_index", line)
        for line in told
    )
    assert any(line.startswith("* model: The file was sha256") for line in told)
    assert not [
        line for line in told if line.startswith(("* code", "* machine", "* parameters", "* weights"))
    ]
    assert told[-2] == "not identical"
    folder = Path(told[-1].removeprefix("kept: "))
    assert folder.is_dir()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("shapes-classifier/1", r"got 'shapes-classifier/1'; allowed are models:/NAME/VERSION and"),
        ("models:/shapes/1", r"no registered model 'shapes' in .*; known: shapes-classifier\."),
        ("models:/shapes-classifier/7", r"shapes-classifier has no version 7; it has 1"),
        ("models:/shapes-classifier@champ", r"alias 'champ'; known: .* Did you mean 'champion'\?"),
    ],
)
def test_an_address_of_nothing_is_one_line(
    made: Path, monkeypatch: pytest.MonkeyPatch, address: str, sentence: str
) -> None:
    from regraft.adapters.registered_version import find_version
    from regraft.adapters.tracking_server import TrackingError, read_options, resolve_server

    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    options = read_options(yaml.safe_load((made / "conf/base/tracking.yml").read_text())["tracking"])
    server = resolve_server(options, project_path=made)
    with pytest.raises(TrackingError, match=sentence):
        find_version(server, address)
    assert find_version(server, "models:/shapes-classifier@champion").address == ADDRESS


def test_a_full_folder_is_refused_and_left_as_it_is(made: Path, run: Callable[..., Ran]) -> None:
    ran = run("regraft", "rebuild", ADDRESS, "--into", "src")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "RebuildError: src is not empty: name a folder that is, or one that is not there\n"
