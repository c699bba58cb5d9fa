"""Makes a registered model again in a clean folder, without network, and compares.

Knows the registry, the folder and `kedro run`; what is the same and what differs is found by `registry`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.config import MissingConfigException
from kedro.framework.project import settings
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project

from regraft.adapters.clean_folder import (
    RebuildError,
    bring_files,
    copy_configuration,
    export_commit,
    levels_above,
    replace_code,
    write_configuration,
)
from regraft.adapters.files import STATE_FOLDER, ContentHashes
from regraft.adapters.model_registry import IMAGES, PREDICTIONS, RECEIPT
from regraft.adapters.receipts import LOCK_FILE
from regraft.adapters.registered_version import RegisteredVersion, find_version
from regraft.adapters.tracking_server import TrackingError, TrackingServer, read_options, resolve_server
from regraft.registry.comparison import Comparison, Making, compare
from regraft.registry.receipt import Receipt

_ARTIFACTS = (RECEIPT, IMAGES, PREDICTIONS)
_ANOTHER_PLACE = ("MLFLOW_", "KEDRO_", "DVC_")  # variables that would lead a run out of its folder
_NOWHERE = "http://127.0.0.1:9"  # the port that discards: a download fails at once instead of happening


@dataclass(frozen=True)
class Rebuilt:
    """A model made again.

    Attributes:
        version: Of which version.
        folder: Where; it may be deleted.
        comparison: With what the registry holds.
    """

    version: RegisteredVersion
    folder: Path
    comparison: Comparison


def rebuild(address: str, *, into: Path | None, data: Path | None, tell: Callable[[str], None]) -> Rebuilt:
    """Make a registered model again and compare.

    The commit's files are written to a clean folder, with the recorded parameters as its configuration; the whole
    pipeline runs there in a process of its own, in this environment, and registers in that folder. The project, its
    registry and its images are only read.

    Args:
        address: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        into: A folder that is empty or not there; None for a new temporary one.
        data: Where relative paths of images and weights begin; None for the project.
        tell: Given a line now and then on how it goes.

    Raises:
        RebuildError: If it cannot be made again here.
        TrackingError: If the registry does not answer, or has no such version or no receipt of it.
    """
    project = find_kedro_project(Path.cwd())
    if project is None:
        raise RebuildError(f"{Path.cwd().as_posix()} is in no project of Kedro: change to your clone of it")
    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise RebuildError(f"{into.as_posix()} is not empty: name a folder that is, or one that is not there")
    version = find_version(_read_server(project), address)
    folder = _make_folder(into)
    try:
        recorded = _read_recorded(version, folder / "recorded")
        root = folder.joinpath(*["above"] * levels_above(recorded), "project")
        tell(f"{version.address} is made again in {root.as_posix()}")
        _fill(root, version, recorded, project=project, data=(data or project).resolve(), tell=tell)
    except BaseException:
        if into is None:
            shutil.rmtree(folder)
        raise
    _run(root)
    return Rebuilt(version, folder, compare(recorded, _read_rebuilt(root, project)))


def _make_folder(into: Path | None) -> Path:
    if into is None:
        return Path(tempfile.mkdtemp(prefix="regraft-rebuild-")).resolve()
    into.mkdir(parents=True, exist_ok=True)
    return into.resolve()


def _read_recorded(version: RegisteredVersion, folder: Path) -> Making:
    folder.mkdir()
    return _read_making(*(version.download(f"artifacts/{name}", folder) for name in _ARTIFACTS))


def _fill(
    root: Path,
    version: RegisteredVersion,
    recorded: Making,
    *,
    project: Path,
    data: Path,
    tell: Callable[[str], None],
) -> None:
    """The project as it was: code, configuration, raw files."""
    root.mkdir(parents=True)
    code = recorded.receipt.code
    if code.commit is None:
        tell("it was made outside git: its package is taken from the registry, all else from this project")
        copy_configuration(project, root)
    else:
        export_commit(project, code.commit, root)
    if code.changed:
        tell(f"not all was committed ({', '.join(code.changed)}): its package is taken from the registry")
    if code.changed or code.commit is None:
        replace_code(root, version.download("code/regraft", root.parent))
    write_configuration(root, _on_present_device(recorded.receipt.parameters, tell))
    for note in bring_files(root, recorded, project=project, data=data):
        tell(note)


def _read_server(project: Path) -> TrackingServer:
    bootstrap_project(project)
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(project / settings.CONF_SOURCE),
        env=os.environ.get("KEDRO_ENV"),
        **settings.CONFIG_LOADER_ARGS,
    )
    try:
        config = loader["tracking"]
    except (KeyError, MissingConfigException) as error:
        raise TrackingError(
            f"no configuration for tracking: restore conf/base/tracking.yml ({error})"
        ) from error
    return resolve_server(read_options(config["tracking"]), project_path=project)


def _read_making(receipt: Path, images: Path, predictions: Path) -> Making:
    return Making(
        Receipt.from_json(receipt.read_text(encoding="utf-8")),
        pd.read_parquet(images),
        pd.read_parquet(predictions),
    )


def _on_present_device(parameters: dict[str, Any], tell: Callable[[str], None]) -> dict[str, Any]:
    """The recorded device if this machine has it: a result of another one is near, and better than none."""
    device = parameters["compute"]["device"]
    if device in ("auto", "cpu"):
        return parameters
    from regraft.training.reproducibility import choose_device

    try:
        choose_device(device)
    except ValueError as error:
        tell(f"{error}: computing where it is possible, which cannot give the same bits")
        return parameters | {"compute": parameters["compute"] | {"device": "auto"}}
    return parameters


def _run(root: Path) -> None:
    """The whole pipeline in a process of its own, whose lines go to the terminal."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_ANOTHER_PLACE)}
    paths = [str(root / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment |= {
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
    }
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--pipeline", "finetune"],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise RebuildError(
            f"the run in {root.as_posix()} ended with status {done.returncode}; its last line says why"
        )


def _read_rebuilt(root: Path, project: Path) -> Making:
    """What the run registered in its folder; its libraries are of the project's lock file, not the commit's."""
    found = sorted((root / "mlartifacts").rglob(f"artifacts/{RECEIPT}"))
    if len(found) != 1:
        raise RebuildError(f"{len(found)} models were registered in {root.as_posix()}; expected is one")
    making = _read_making(*(found[0].with_name(name) for name in _ARTIFACTS))
    lock = ContentHashes(root / STATE_FOLDER / "hashes.json").of(project / LOCK_FILE)
    return Making(making.receipt.model_copy(update={"lock_sha256": lock}), making.images, making.predictions)
