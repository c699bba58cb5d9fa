"""DVC itself with this project's ignore files, remote and parameter files, in processes of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
PARAMETERS = sorted((PROJECT / "conf" / "base").glob("parameters_*.yml"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project folder with all that DVC and git read in it, committed."""
    root = tmp_path / "project"
    root.mkdir()
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(PROJECT / name, root)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(PROJECT / ".dvc" / name, root / ".dvc")
    shutil.copytree(PROJECT / "conf" / "base", root / "conf" / "base")
    (root / "data" / "01_raw").mkdir(parents=True)
    call(root, "git", "init", "--quiet", "--initial-branch", "main")
    commit(root)
    return root


def call(folder: Path, *command: str) -> str:
    """What a command prints; nothing of the user's own git or DVC counts."""
    apart = folder.parent / "apart"
    environment = {
        "GIT_CONFIG_GLOBAL": str(apart / "gitconfig"),
        "GIT_CONFIG_SYSTEM": str(apart / "gitconfig"),
        "DVC_GLOBAL_CONFIG_DIR": str(apart),
        "DVC_SYSTEM_CONFIG_DIR": str(apart),
        "DVC_SITE_CACHE_DIR": str(apart / "site"),
    }
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def dvc(folder: Path, *arguments: str) -> str:
    return call(folder, sys.executable, "-m", "dvc", *arguments)


def commit(folder: Path) -> None:
    call(folder, "git", "add", "--all")
    call(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", "x")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_an_experiment_sets_a_value_in_any_parameter_file(root: Path) -> None:
    """DVC resolves a whole file to set one value: what only Kedro can resolve stopped it."""
    before = {path.name: load(root, path) for path in PARAMETERS}
    stage = {
        "cmd": "git --version",
        "params": [{f"conf/base/{name}": list(content)} for name, content in before.items()],
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"stage": stage}}))
    dvc(root, "repro")
    commit(root)
    changes = {name: first_leaf(content) for name, content in before.items()}
    arguments = [
        argument
        for name, (key, value) in changes.items()
        for argument in ("--set-param", f"conf/base/{name}:{key}={value}")
    ]
    dvc(root, "exp", "run", *arguments)
    for path in PARAMETERS:
        key, value = changes[path.name]
        assert load(root, path) == with_value(before[path.name], key, value)
    told = dvc(root, "params", "diff")
    assert all(name in told and key in told for name, (key, _) in changes.items())


def load(root: Path, path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((root / "conf" / "base" / path.name).read_text())
    return content


def first_leaf(content: dict[str, Any]) -> tuple[str, str]:
    """The first key that is not nested, dotted, and another value for it."""
    key, value = next(iter(content.items()))
    if not isinstance(value, dict):
        return key, "changed"
    inner, changed = first_leaf(value)
    return f"{key}.{inner}", changed


def with_value(content: dict[str, Any], dotted: str, value: str) -> dict[str, Any]:
    key, _, rest = dotted.partition(".")
    return content | {key: with_value(content[key], rest, value) if rest else value}


@pytest.mark.slow
def test_images_of_ones_own_travel_through_the_local_remote(root: Path) -> None:
    """Add, push, clone, pull: the shipped default remote is a folder beside the project."""
    mine = root / "data" / "01_raw" / "mine"
    for name in ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_bytes(f"bytes of {name}".encode())
    images = contents(mine)
    dvc(root, "add", "data/01_raw/mine")
    assert call(root, "git", "status", "--porcelain", "--untracked-files=all").split() == [
        "??",
        "data/01_raw/mine.dvc",
    ]
    commit(root)
    dvc(root, "push")
    assert (root.parent / "regraft-dvc-store" / "files").is_dir()

    shutil.rmtree(mine)
    dvc(root, "checkout")
    assert contents(mine) == images

    call(root.parent, "git", "clone", "--quiet", str(root), "clone")
    dvc(root.parent / "clone", "pull")
    assert contents(root.parent / "clone" / "data" / "01_raw" / "mine") == images

    (mine / "dogs" / "1.jpg").write_bytes(b"changed")
    assert "modified" in dvc(root, "status")
