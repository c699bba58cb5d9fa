"""The run of MLflow that is open now in this process: the hook opens it, datasets and the terminal find it here.

Knows no Kedro; records nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regraft.adapters.tracking_server import TrackingError, TrackingServer

if TYPE_CHECKING:
    from regraft.adapters.model_rows import ModelRows
    from regraft.adapters.tracked_run import TrackedRun


@dataclass(frozen=True)
class RunSummary:
    """Where a run is found, and what it registered."""

    run_id: str
    run_name: str
    tracking_uri: str
    experiment_id: str
    model_name: str | None
    model_version: str | None
    aliases: tuple[str, ...]


@dataclass
class PresentRun:
    """Of this process: Kedro makes one session after another, and a dataset finds the run here.

    Attributes:
        server: Where runs are kept.
        run: That is open.
        models: Its rows below.
        summary: Of the last run, once it has ended.
        note: Where a file says that the run is open.
        watching_pid: The process that ends it as KILLED where nobody else does.
    """

    server: TrackingServer | None = None
    run: "TrackedRun | None" = None
    models: "ModelRows | None" = None
    summary: RunSummary | None = None
    note: Path | None = None
    watching_pid: int | None = None


PRESENT = PresentRun()


def current_server() -> TrackingServer:
    """Where this project's runs are kept.

    Raises:
        TrackingError: If no Kedro context was created in this process.
    """
    if PRESENT.server is None:
        raise TrackingError(
            "tracking is not configured: settings.py needs TrackingHook, and Kedro a loaded project"
        )
    return PRESENT.server


def current_run() -> "TrackedRun":
    """The run that is open.

    Raises:
        TrackingError: If none is.
    """
    if PRESENT.run is None:
        raise TrackingError(
            "no MLflow run is open: `kedro run` opens it at the first node with a recorded output"
        )
    return PRESENT.run


def summary() -> RunSummary | None:
    """The last run of this process, open or ended; None if nothing was recorded."""
    return summarize(PRESENT.run) if PRESENT.run is not None else PRESENT.summary


def summarize(run: "TrackedRun") -> RunSummary:
    """Where a run is found, and what it has registered so far."""
    registered = run.registered
    return RunSummary(
        run_id=run.run_id,
        run_name=run.run_name,
        tracking_uri=run.server.shown_uri,
        experiment_id=run.experiment_id,
        model_name=registered.name if registered else None,
        model_version=registered.version if registered else None,
        aliases=registered.aliases if registered else (),
    )
