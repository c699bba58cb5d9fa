"""A project folder as it was when a model was made: the commit's files, the recorded parameters, the raw images.

Knows git, DVC and the layout of the project; runs no step, and writes nothing outside the new folder.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from regraft.adapters.checkout import ask_git
from regraft.adapters.files import STATE_FOLDER, ContentHashes
from regraft.registry.comparison import Making

_PACKAGE = Path("src/regraft")
# Runs stay in the folder, whatever conf/base says of a server or a bucket.
_TRACKING = {"uri": None, "artifacts": "mlartifacts", "system_metrics_interval_s": None}


class RebuildError(ValueError):
    """A model that cannot be made again here, and why."""


def export_commit(project: Path, commit: str, root: Path) -> None:
    """Write the files of a commit, without git's own.

    Raises:
        RebuildError: If the repository does not have the commit.
    """
    if ask_git(project, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise RebuildError(
            f"commit {commit[:12]} is not in {project.as_posix()}: fetch it (git fetch), or rebuild in the clone "
            "that has it"
        )
    packed = subprocess.run(
        ["git", "-C", str(project), "archive", "--format=tar", commit], capture_output=True, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(root, filter="data")


def copy_configuration(project: Path, root: Path) -> None:
    """Stand in for a commit where the model was made outside git: the project's present configuration."""
    shutil.copytree(project / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    for name in ("pyproject.toml", "requirements.lock"):
        if (project / name).is_file():
            shutil.copy(project / name, root / name)


def replace_code(root: Path, package: Path) -> None:
    """Put the package that travelled with the model in the place of the commit's."""
    shutil.rmtree(root / _PACKAGE, ignore_errors=True)
    shutil.copytree(package, root / _PACKAGE)


def write_configuration(root: Path, parameters: Mapping[str, Any]) -> None:
    """Say the recorded parameters and nothing else; keep runs and models in the folder."""
    for path in sorted((root / "conf" / "base").rglob("parameters*"), reverse=True):
        _remove(path)
    local = root / "conf" / "local"
    local.mkdir(parents=True, exist_ok=True)
    (root / "conf" / "base" / "parameters.yml").write_text(
        yaml.safe_dump(dict(parameters), sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    (local / "tracking.yml").write_text(yaml.safe_dump({"tracking": _TRACKING}), encoding="utf-8")


def bring_files(root: Path, recorded: Making, *, project: Path, data: Path) -> list[str]:
    """Put raw images, and other files that parameters name, where the parameters say.

    What the commit brought stays if its content is what was recorded. Else the files of `data` are linked, if theirs
    is; else DVC's cache is asked for those of the commit; else what there is has to do.

    Args:
        root: The new folder.
        recorded: Whose files.
        project: Whose DVC cache, and whose memory of hashes.
        data: Where relative paths begin.

    Returns:
        A sentence for each that is not what was recorded.
    """
    hashes = ContentHashes(project / STATE_FOLDER / "hashes.json")
    notes = []
    for name, digest in recorded.receipt.external.items():
        target = Path(os.path.normpath(root / name))
        if digest is None and not Path(name).is_absolute():
            # It holds the project itself, and so results and the registry: the images alone are linked.
            for image in recorded.images["path"]:
                _link(data / image, root / image)
        elif hashes.of(target) != digest and not Path(name).is_absolute():
            is_as_it_was = hashes.of(data / name) == digest
            if is_as_it_was or not (_checkout_from_cache(root, name, project) or target.exists()):
                _link(data / name, target)
        if digest is not None and hashes.of(target) != digest:
            notes.append(f"{name} is not as it was, and neither git nor DVC's cache has it as it was")
    return notes


def levels_above(recorded: Making) -> int:
    """How many folders a relative path leads up from the project: as many must be above the new one."""
    return max(
        (os.path.normpath(name).split("/").count("..") for name in recorded.receipt.external), default=0
    )


def _link(source: Path, target: Path) -> None:
    """Raw files are read in place, since there may be a great many of them; nothing is written through a link."""
    if source.exists():
        _remove(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _checkout_from_cache(root: Path, name: str, project: Path) -> bool:
    """Whether the commit has the path under DVC, and the project's cache its content."""
    pointer = f"{name}.dvc"
    if not (root / pointer).is_file() or not (root / ".dvc").is_dir():
        return False
    cache = _dvc(project, "cache", "dir").stdout.strip()
    # Copies: a link into the cache would let a slip here damage it.
    (root / ".dvc" / "config.local").write_text(
        f"[core]\n    no_scm = true\n[cache]\n    dir = {cache}\n    type = copy\n", encoding="utf-8"
    )
    is_there = _dvc(root, "checkout", pointer).returncode == 0 and (root / name).exists()
    if not is_there:
        _remove(root / name)  # a part of it
    return is_there


def _dvc(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
