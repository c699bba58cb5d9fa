"""A note of which MLflow run is open, so that the next process ends the run of one that was killed.

Knows a file in the project and MLflow's client; not what is recorded.
"""

import json
import logging
from pathlib import Path

from regraft.adapters.files import STATE_FOLDER, written_whole
from regraft.adapters.tracking_server import TrackingServer

_logger = logging.getLogger(__name__)


def note_of(project_path: Path) -> Path:
    """Where the note of a project is."""
    return project_path / STATE_FOLDER / "open_run.json"


def note_open_run(note: Path, run_id: str) -> None:
    """Write down that a run is open, as long as nothing has ended it."""
    with written_whole(note) as aside:
        aside.write_text(json.dumps({"run_id": run_id}))


def forget_open_run(note: Path) -> None:
    """It was ended."""
    note.unlink(missing_ok=True)


def end_orphan(note: Path, server: TrackingServer) -> None:
    """End the run of a process that was killed, or whose server was lost, as KILLED, with the rows below it; it may be
    taken up again.

    Call it only while no other process can run a pipeline in this project. A run that this server does not have is
    forgotten: another server, or a new database.

    Raises:
        TrackingError: If the server does not do it.
    """
    try:
        run_id = json.loads(note.read_text())["run_id"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    if server.database is None or server.database.is_file():
        from mlflow.exceptions import MlflowException

        from regraft.adapters.tracked_run import explain_failures

        with explain_failures(server, "end the run of a killed process"):
            client = server.connect()
            try:
                run = client.get_run(run_id)
                below = client.search_runs(
                    [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=1000
                )
                for one in (run, *below):
                    if one.info.status == "RUNNING":
                        client.set_terminated(one.info.run_id, "KILLED")
                        _logger.info("run %s of a process that was killed is marked so", one.info.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
    forget_open_run(note)
