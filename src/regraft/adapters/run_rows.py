"""Which row of MLflow a process records into: a new one, or the one that an earlier process began.

Knows MLflow's client and the project's git commit, but no Kedro; writes nothing but what tells rows apart.
"""

import hashlib
import json
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regraft.adapters.checkout import describe_checkout
from regraft.adapters.interrupts import received
from regraft.adapters.live_metrics import metric_key
from regraft.adapters.orphans import note_of, note_open_run
from regraft.adapters.tracked_run import (
    DONE,
    ERROR_TAG,
    MAX_TAG_LENGTH,
    TrackedRun,
    explain_failures,
    names_under,
)
from regraft.adapters.tracking_server import TrackingError, TrackingServer

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

DATA_TAG, COMMIT_TAG = "data_sha256", "git_commit"
PROGRAM_TAG = "program"
_LINEAGE = "regraft.lineage"


def open_run(
    server: TrackingServer,
    *,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    redone: Collection[str],
    project_path: Path,
    program: str | None = None,
) -> TrackedRun:
    """Open the run that this process records into: a new row, or the one an earlier process began.

    One model is one row, whatever number of processes made it. A process joins the newest run of the same
    parameters, data and commit, unless one of the nodes it runs, or one after them, is recorded there as
    done: then it was rerun on purpose and gets its own row. `MLFLOW_RUN_ID` names a run to record into,
    `DVC_EXP_NAME` the new row.

    Args:
        server: Where.
        parameters: All that the program reads, resolved.
        tags: Facts known so far.
        redone: The nodes that ran so far, the one about to run, and all that come after them.
        project_path: Whose git commit is recorded, and where a note says that the run is open.
        program: The name of a program that makes no single model: it names the row. None: the main job.
    """
    with explain_failures(server, "open its database"):
        client = server.connect()
    lineage = lineage_key(parameters)
    of_model = _tags_from(parameters, server.options.tags) if program is None else {PROGRAM_TAG: program}
    tags = of_model | dict(tags) | _describe_git(project_path)
    with explain_failures(server, "open a run"):
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            run, is_new = client.get_run(run_id), True
        else:
            experiment_id = _find_experiment(client, server)
            joined = _find_joinable(client, experiment_id, lineage, tags, redone)
            run, is_new = (
                joined or client.create_run(experiment_id, run_name=_name_run(tags, lineage)),
                joined is None,
            )
        tracked = TrackedRun(client, run, server)
        try:
            note_open_run(note_of(project_path), run.info.run_id)
            client.update_run(run.info.run_id, status="RUNNING")
            if ERROR_TAG in run.data.tags:
                client.delete_tag(run.info.run_id, ERROR_TAG)
            if is_new:
                tracked.log_parameters(flatten_parameters(parameters))
                tags = {_LINEAGE: lineage} | _describe_command() | tags
            tracked.set_tags(tags)
        except BaseException as error:
            # What a signal interrupts in the database comes out as an error of the database.
            is_stopped = received() is not None or not isinstance(error, Exception)
            tracked.end("KILLED" if is_stopped else "FAILED")
            raise
    return tracked


def lineage_key(parameters: Mapping[str, Any]) -> str:
    """Digest of all parameters: equal for the processes that make one model together."""
    text = json.dumps(parameters, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def flatten_parameters(parameters: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Parameters under dotted names: texts as they are, anything else, lists included, as JSON."""
    found: dict[str, str] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping) and value:
            found |= flatten_parameters(value, prefix=f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            found[metric_key(f"{prefix}{name}")] = text
    return found


def _find_experiment(client: "MlflowClient", server: TrackingServer) -> str:
    from mlflow.exceptions import MlflowException

    name = server.options.experiment
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_location=server.artifacts)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another process was faster
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"the MLflow experiment {name!r} was deleted: restore it (mlflow experiments restore) or change "
            f"tracking.experiment"
        )
    return str(experiment.experiment_id)


def _find_joinable(
    client: "MlflowClient", experiment_id: str, lineage: str, tags: Mapping[str, str], redone: Collection[str]
) -> "Run | None":
    runs = client.search_runs(
        [experiment_id],
        f"tags.`{_LINEAGE}` = '{lineage}'",
        order_by=["attributes.start_time DESC"],
        max_results=50,
    )
    newest = next((run for run in runs if _is_compatible(run, tags)), None)
    if newest is None or names_under(DONE, newest.data.tags) & {metric_key(name) for name in redone}:
        return None
    return newest


def _is_compatible(run: "Run", tags: Mapping[str, str]) -> bool:
    """Same data and commit, where both sides know them; an experiment of DVC never shares a row."""
    same = all(
        tags[name] == run.data.tags[name]
        for name in (DATA_TAG, COMMIT_TAG)
        if name in tags and name in run.data.tags
    )
    return same and os.environ.get("DVC_EXP_NAME") in (None, run.info.run_name)


def _tags_from(parameters: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, str]:
    known = flatten_parameters(parameters)
    if missing := sorted(source for source in sources.values() if source not in known):
        raise TrackingError(f"tracking.tags names parameters that are not there: {', '.join(missing)}")
    return {tag: known[source] for tag, source in sources.items()}


def _name_run(tags: Mapping[str, str], lineage: str) -> str:
    return os.environ.get("DVC_EXP_NAME") or (
        f"{tags.get(PROGRAM_TAG) or tags.get('backbone', 'run')}-{lineage[:6]}"
    )


def _describe_command() -> dict[str, str]:
    return {
        "mlflow.user": os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:MAX_TAG_LENGTH],
    }


def _describe_git(project_path: Path) -> dict[str, str]:
    checkout = describe_checkout(project_path)
    if checkout.commit is None:
        return {"git_tree": "no git"}
    return {
        COMMIT_TAG: checkout.commit,
        "mlflow.source.git.commit": checkout.commit,
        "git_tree": "dirty" if checkout.changed else "clean",
    }
