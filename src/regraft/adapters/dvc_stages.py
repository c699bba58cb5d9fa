"""Writes dvc.yaml from the pipelines and the catalog, so that `dvc repro` and `kedro run` are one program.

Knows Kedro's project and DVC's format; runs no step. `python -m regraft.adapters.dvc_stages [--check]`.
"""

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

from regraft.adapters.fingerprints import code_files, external_paths, file_of

STEPS = ("ingest", "normalize", "build_backbone", "train_head", "fine_tune", "evaluate", "register")
_HEADING = (
    "# Written by `python -m regraft.adapters.dvc_stages` from the pipelines and the catalog; do not edit.\n"
)
# Where a step runs, and on how many cores, is no part of its result on one kind of machine; conf/local says it.
_NOT_TRACKED = {"compute"}


def main(arguments: list[str]) -> int:
    """Write dvc.yaml, or with `--check` tell what in it is stale; 1 if something is."""
    project = Path.cwd()
    path = project / "dvc.yaml"
    wanted = render(project)
    present = path.read_text() if path.is_file() else ""
    if "--check" in arguments:
        lines = difflib.unified_diff(
            present.splitlines(), wanted.splitlines(), "dvc.yaml", "as it should be", lineterm=""
        )
        diff = "\n".join(lines)
        if diff:
            print(f"{diff}\ndvc.yaml is stale: run `python -m regraft.adapters.dvc_stages`", file=sys.stderr)
        return 1 if diff else 0
    path.write_text(wanted)
    return 0


def render(project: Path) -> str:
    """The text of dvc.yaml for the project's configuration in conf/base."""
    bootstrap_project(project)
    with KedroSession.create(project_path=project, env="base") as session:
        assert isinstance(session, KedroSession)
        catalog = session.load_context().catalog
    stages = {step: _stage(step, project, catalog) for step in STEPS}
    plots = sorted(
        _relative(file, project)
        for node in _nodes(STEPS)
        for name in node.outputs
        if _dvc_role(catalog, name) == "plots" and (file := file_of(catalog, name)) is not None
    )
    body: dict[str, Any] = {"stages": stages, "plots": [{plot: None} for plot in plots]}
    return _HEADING + yaml.safe_dump(body, sort_keys=False, width=120)


def _stage(step: str, project: Path, catalog: CatalogProtocol[Any, Any]) -> dict[str, Any]:
    nodes = list(_nodes([step]))
    made = {name for node in nodes for name in node.outputs}
    needed = {name for node in nodes for name in node.inputs} - made
    parameters = sorted(
        name.removeprefix("params:").split(".")[0] for name in needed if name.startswith("params:")
    )
    files = {file for name in needed if not name.startswith("params:") and (file := file_of(catalog, name))}
    external = {path for name in parameters for path in external_paths(catalog.load(f"params:{name}"))}
    files |= external
    files |= {path for node in nodes for path in code_files(node).values()}
    stage: dict[str, Any] = {
        # --env base: conf/local is a machine's own and not what is repeated elsewhere
        "cmd": f"kedro run --env base --pipeline {step}",
        "deps": sorted(_relative(file, project) for file in files),
        "params": [
            {f"conf/base/parameters_{name}.yml": [name]}
            for name in dict.fromkeys(parameters)
            if name not in _NOT_TRACKED
        ],
    }
    outputs: dict[str, list[Any]] = {"outs": [], "metrics": []}
    for name in sorted(made):
        role = _dvc_role(catalog, name)
        if role == "none" or (file := file_of(catalog, name)) is None:
            continue
        if any((project / file).is_relative_to(project / path) for path in external):
            continue  # the demonstration's images, where one's own lie around their folder: nothing is copied there
        kind = "metrics" if role == "metrics" else "outs"
        outputs[kind].append(_relative(file, project))
    stage |= {kind: paths for kind, paths in outputs.items() if paths}
    return stage


def _nodes(steps: Iterable[str]) -> Iterable[Node]:
    for step in steps:
        yield from pipelines[step].nodes


def _dvc_role(catalog: CatalogProtocol[Any, Any], name: str) -> str | None:
    metadata = getattr(catalog.get(name, fallback_to_runtime_pattern=True), "metadata", None) or {}
    role = metadata.get("dvc")
    return None if role is None else str(role)


def _relative(path: Path, project: Path) -> str:
    absolute = path if path.is_absolute() else project / path
    return (
        absolute.relative_to(project).as_posix() if absolute.is_relative_to(project) else absolute.as_posix()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
