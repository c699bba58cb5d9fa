import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from regraft.adapters.clean_folder import (
    RebuildError,
    bring_files,
    copy_configuration,
    export_commit,
    levels_above,
    replace_code,
    write_configuration,
)
from regraft.adapters.files import ContentHashes
from regraft.registry.comparison import Making
from regraft.registry.receipt import Code, Receipt, Result, Weights

IMAGES = ("cats/1.png", "dogs/2.png")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def hash_of(path: Path) -> str | None:
    return ContentHashes(Path("nowhere.json")).of(path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project under git with images that git does not know."""
    project = tmp_path / "project"
    write(project / "conf/base/parameters_a.yml", "a: 1")
    write(project / "conf/base/tracking.yml", "tracking: {uri: http://far.away}")
    write(project / "conf/local/parameters.yml", "secret: 2")
    write(project / "src/regraft/__init__.py", "first = True")
    write(project / "pyproject.toml", "")
    write(project / ".gitignore", "/data\n/conf/local\n")
    for name in IMAGES:
        write(project / "data/mine" / name, name)
    git(project, "init")
    git(project, "add", ".")
    git(project, "commit", "-m", "one")
    return project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "clean"
    root.mkdir()
    return root


@pytest.fixture
def recorded(project: Path) -> Callable[..., Making]:
    def recorded(**external: Any) -> Making:
        receipt = Receipt(
            code=Code(commit=None, changed=(), diff_sha256=None, files={}),
            lock_sha256=None,
            parameters={},
            seeds={},
            data_sha256="",
            num_images=2,
            external=external or {"data/mine": hash_of(project / "data/mine")},
            weights=Weights(name="", source="", sha256="", licence=""),
            machine={},
            versions={},
            files={},
            unverified=(),
            result=Result(model="probe", classifier_sha256="", predictions_sha256="", metrics={}),
        )
        return Making(
            receipt, pd.DataFrame({"path": [f"data/mine/{name}" for name in IMAGES]}), pd.DataFrame()
        )

    return recorded


def test_a_commit_is_exported_as_it_was_without_git(project: Path, root: Path) -> None:
    commit = git(project, "rev-parse", "HEAD")
    write(project / "src/regraft/__init__.py", "second = True")
    git(project, "commit", "-am", "two")
    export_commit(project, commit, root)
    assert (root / "src/regraft/__init__.py").read_text() == "first = True"
    assert not (root / ".git").exists()
    assert not (root / "data").exists()
    assert not (root / "conf/local").exists()
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "worktree", "list").count("\n") == 0


def test_a_commit_that_is_not_there_is_named(project: Path, root: Path) -> None:
    with pytest.raises(RebuildError, match=r"commit abababababab is not in .*git fetch"):
        export_commit(project, "ab" * 20, root)


def test_parameters_are_the_recorded_ones_alone_and_runs_stay_here(project: Path, root: Path) -> None:
    export_commit(project, "HEAD", root)
    write(root / "conf/base/parameters/deep/er.yml", "b: 1")
    write_configuration(root, {"a": {"rate": 1e-4, "name": "größe", "off": None}})
    found = sorted(path.relative_to(root).as_posix() for path in (root / "conf").rglob("*.yml"))
    assert found == ["conf/base/parameters.yml", "conf/base/tracking.yml", "conf/local/tracking.yml"]
    parameters = yaml.safe_load((root / "conf/base/parameters.yml").read_text())
    assert parameters == {"a": {"rate": 1e-4, "name": "größe", "off": None}}
    tracking = yaml.safe_load((root / "conf/local/tracking.yml").read_text())["tracking"]
    assert tracking["uri"] is None


def test_outside_git_the_present_configuration_stands_in(project: Path, root: Path) -> None:
    copy_configuration(project, root)
    assert (root / "conf/base/tracking.yml").is_file()
    assert not (root / "conf/local").exists()
    assert not (root / "src").exists()
    replace_code(root, project / "src/regraft")
    assert (root / "src/regraft/__init__.py").is_file()


def test_code_that_travelled_with_the_model_takes_the_place_of_the_commits(
    project: Path, root: Path, tmp_path: Path
) -> None:
    export_commit(project, "HEAD", root)
    write(tmp_path / "kept/regraft/new.py", "")
    replace_code(root, tmp_path / "kept/regraft")
    assert [path.name for path in (root / "src/regraft").iterdir()] == ["new.py"]


def test_images_that_are_as_they_were_are_linked(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    assert bring_files(root, recorded(), project=project, data=project) == []
    assert (root / "data/mine").is_symlink()
    assert (root / "data/mine/cats/1.png").read_text() == "cats/1.png"
    shutil.rmtree(root)
    assert (project / "data/mine/cats/1.png").is_file()


def test_changed_images_are_taken_and_it_is_said(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    making = recorded()
    write(project / "data/mine/cats/1.png", "changed")
    (note,) = bring_files(root, making, project=project, data=project)
    assert note == "data/mine is not as it was, and neither git nor DVC's cache has it as it was"
    assert (root / "data/mine/cats/1.png").read_text() == "changed"


def test_images_that_are_gone_are_told(project: Path, root: Path, recorded: Callable[..., Making]) -> None:
    making = recorded()
    shutil.rmtree(project / "data/mine")
    assert len(bring_files(root, making, project=project, data=project)) == 1
    assert not (root / "data/mine").exists()


def test_images_can_be_taken_from_elsewhere(
    project: Path, root: Path, recorded: Callable[..., Making], tmp_path: Path
) -> None:
    making = recorded()
    shutil.move(project / "data", tmp_path / "elsewhere/data")
    assert bring_files(root, making, project=project, data=tmp_path / "elsewhere") == []
    assert (root / "data/mine/cats/1.png").read_text() == "cats/1.png"


def test_images_as_the_commit_had_them_come_from_dvcs_cache(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    making = recorded()
    write(project / ".gitignore", "/data/mine\n/conf/local\n")
    dvc(project, "init", "-q")
    dvc(project, "add", "-q", "data/mine")
    git(project, "add", ".")
    git(project, "commit", "-m", "under DVC")
    commit = git(project, "rev-parse", "HEAD")
    (project / "data/mine/cats/1.png").unlink()  # DVC may have linked it to its cache
    write(project / "data/mine/cats/1.png", "changed")
    export_commit(project, commit, root)
    assert bring_files(root, making, project=project, data=project) == []
    assert (root / "data/mine/cats/1.png").read_text() == "cats/1.png"
    assert (project / "data/mine/cats/1.png").read_text() == "changed"
    assert not (root / "data/mine").is_symlink()

    shutil.rmtree(root / "data")
    export_commit(project, commit, root)
    shutil.rmtree(project / ".dvc/cache")
    assert len(bring_files(root, making, project=project, data=project)) == 1
    assert (root / "data/mine/cats/1.png").read_text() == "changed"


def dvc(folder: Path, *arguments: str) -> None:
    variables = {"DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | variables,
        check=True,
        capture_output=True,
    )


def test_a_file_of_the_commit_gives_way_to_what_was_recorded(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    write(project / "list.csv", "committed")
    git(project, "add", ".")
    git(project, "commit", "-m", "list")
    write(project / "list.csv", "as it ran")
    making = recorded(**{"list.csv": hash_of(project / "list.csv")})
    export_commit(project, "HEAD", root)
    assert bring_files(root, making, project=project, data=project) == []
    assert (root / "list.csv").read_text() == "as it ran"
    assert (project / "list.csv").read_text() == "as it ran"


def test_a_file_of_the_commit_stays_where_the_project_moved_on(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    write(project / "list.csv", "committed")
    git(project, "add", ".")
    git(project, "commit", "-m", "list")
    making = recorded(**{"list.csv": hash_of(project / "list.csv")})
    export_commit(project, "HEAD", root)
    write(project / "list.csv", "later")
    assert bring_files(root, making, project=project, data=project) == []
    assert (root / "list.csv").read_text() == "committed"


def test_of_a_folder_that_holds_the_project_only_the_images_are_linked(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    write(project / "mlflow.db", "the registry")
    assert bring_files(root, recorded(**{".": None}), project=project, data=project) == []
    assert (root / "data/mine/cats/1.png").read_text() == "cats/1.png"
    assert not (root / "mlflow.db").exists()


def test_a_path_that_leads_out_of_the_project_has_room_above_the_new_one(
    project: Path, root: Path, recorded: Callable[..., Making]
) -> None:
    write(project.parent / "shared/a.png", "a")
    making = recorded(**{"../shared": hash_of(project.parent / "shared"), "data/x/../mine": "0"})
    assert levels_above(making) == 1
    new = root / "above" / "project"
    new.mkdir(parents=True)
    bring_files(new, making, project=project, data=project)
    assert (root / "above/shared/a.png").read_text() == "a"
    assert (new / "../shared/a.png").read_text() == "a"
