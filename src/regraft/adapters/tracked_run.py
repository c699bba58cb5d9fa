"""One MLflow run that is open: written to, and ended with the status it deserves.

Knows MLflow's client, but no Kedro: what to record is decided elsewhere; `run_rows` says which row it is.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from regraft.adapters.live_metrics import Buffered, LiveMetrics, MetricPoint, metric_key
from regraft.adapters.tracking_server import TrackingError, TrackingServer
from regraft.adapters.write_faults import WriteError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_Item = TypeVar("_Item")
Status = Literal["FINISHED", "FAILED", "KILLED"]
ERROR_TAG = "error"
DONE, REUSED = "regraft.done.", "regraft.reused."
_MAX_METRICS, _MAX_PARAMS, MAX_TAG_LENGTH = 1000, 100, 5000  # of one request; a tag may hold 8000 characters


@dataclass(frozen=True)
class RegisteredVersion:
    """What a run put into the registry; not new where the very same classifier was there already."""

    name: str
    version: str
    aliases: tuple[str, ...]
    is_new: bool


class TrackedRun:
    """A run that is open: metrics, parameters, tags and files go in until `end`.

    Attributes:
        client: MLflow's, for what this class does not offer.
        done: Nodes recorded as done, by this process or an earlier one.
        registered: The model version that this process registered, if any.

    Args:
        client: MLflow's.
        run: The row.
        server: Where it is.
        model: The one of several models that the row is of; None: of all of them, or of the only one.
    """

    def __init__(
        self, client: "MlflowClient", run: "Run", server: TrackingServer, *, model: str | None = None
    ) -> None:
        self.client = client
        self.server = server
        self.run_id: str = run.info.run_id
        self.run_name: str = run.info.run_name
        self.experiment_id: str = run.info.experiment_id
        self.params: dict[str, str] = dict(run.data.params)
        self.tags: dict[str, str] = dict(run.data.tags)
        self.registered: RegisteredVersion | None = None
        self.done = names_under(DONE, self.tags)
        self.reused = names_under(REUSED, self.tags)
        self._live = LiveMetrics(self._send, interval_s=server.options.send_interval_s, model=model)
        self._live.attach()
        # Of the machine, so in the one row that is open all along.
        self._monitor: Any = self._start_system_metrics() if model is None else None

    def log_metrics(
        self, metrics: Mapping[str, float], *, step: int = 0, model_id: str | None = None
    ) -> None:
        """Record metrics of one step, also as the results of a logged model where its id is given."""
        now = int(time.time() * 1000)
        points = [MetricPoint(metric_key(name), value, step, now) for name, value in metrics.items()]
        self._log_points(points, model_id=model_id)

    def log_history(self, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Record a history, less the steps that went in live."""
        self.send_live()
        now = int(time.time() * 1000)
        points = [
            MetricPoint(key, value, step, now) for step, metrics in rows for key, value in metrics.items()
        ]
        with self._explaining("read"):
            keys = dict.fromkeys(point.key for point in points)
            known = {
                (key, point.step)
                for key in keys
                for point in self.client.get_metric_history(self.run_id, key)
            }
        self._log_points([point for point in points if (point.key, point.step) not in known])

    def log_file(self, path: Path, *, folder: str | None = None) -> None:
        """Copy a file, or a folder with all in it, to the run's artifacts."""
        with self._explaining(f"take {path}"):
            if path.is_dir():
                self.client.log_artifacts(
                    self.run_id, str(path), f"{folder}/{path.name}" if folder else path.name
                )
            else:
                self.client.log_artifact(self.run_id, str(path), folder)

    def log_parameters(self, parameters: Mapping[str, str]) -> None:
        """Record parameters; MLflow refuses another value for one it has."""
        from mlflow.entities import Param

        with self._explaining("take parameters"):
            for some in _chunks(list(parameters.items()), _MAX_PARAMS):
                self.client.log_batch(self.run_id, params=[Param(name, text) for name, text in some])
        self.params |= parameters

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags that are not so yet."""
        from mlflow.entities import RunTag

        new = {metric_key(name): text[:MAX_TAG_LENGTH] for name, text in tags.items()}
        new = {name: text for name, text in new.items() if self.tags.get(name) != text}
        with self._explaining("take tags"):
            for some in _chunks(list(new.items()), _MAX_PARAMS):
                self.client.log_batch(self.run_id, tags=[RunTag(name, text) for name, text in some])
        self.tags |= new

    def mark_done(self, node_names: Collection[str]) -> None:
        """Record that nodes ran to their end in this run."""
        self.set_tags({f"{DONE}{metric_key(name)}": "1" for name in node_names})
        self.done |= {metric_key(name) for name in node_names}

    def mark_reused(self, node_names: Collection[str]) -> None:
        """Record that what nodes left behind is an earlier run's."""
        self.set_tags({f"{REUSED}{metric_key(name)}": "1" for name in node_names})
        self.reused |= {metric_key(name) for name in node_names}

    def holds(self, node_name: str) -> bool:
        """Whether the run has what a node left behind."""
        return metric_key(node_name) in self.done | self.reused

    def send_live(self) -> None:
        """Send the live metrics that wait."""
        with self._explaining("take live metrics"):
            self._live.send_now()

    def end(self, status: Status, *, error: str | None = None) -> None:
        """Send what waits and close the run; it is closed even if the sending fails."""
        self._live.detach()
        is_remote = self.server.database is None
        if status != "FINISHED" and is_remote and (fault := self.server.find_fault()):
            # Nobody waits now for the half minute that each request to a dead server takes.
            raise TrackingError(
                f"MLflow at {self.server.shown_uri} could not end the run as {status}: {fault}"
            )
        try:
            self._stop_system_metrics()
            self.send_live()
            if error:
                self.set_tags({ERROR_TAG: error})
        finally:
            with self._explaining(f"end the run as {status}"):
                self.client.set_terminated(self.run_id, status)

    def _send(self, batch: Buffered) -> None:
        self._log_points(batch.points)
        self.set_tags(batch.tags)

    def _log_points(self, points: Sequence[MetricPoint], *, model_id: str | None = None) -> None:
        from mlflow.entities import Metric

        with self._explaining("take metrics"):
            for some in _chunks(points, _MAX_METRICS):
                self.client.log_batch(
                    self.run_id,
                    metrics=[
                        Metric(point.key, point.value, point.timestamp_ms, point.step, model_id=model_id)
                        for point in some
                    ],
                )

    def _start_system_metrics(self) -> Any:
        interval_s = self.server.options.system_metrics_interval_s
        if interval_s is None:
            return None
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            self.run_id, sampling_interval=interval_s, resume_logging=True, tracking_uri=self.server.uri
        )
        monitor.start()
        return monitor

    def _stop_system_metrics(self) -> None:
        if self._monitor is None:
            return
        self._monitor.finish()
        self._monitor.collect_metrics()  # a last look, so that a run shorter than the interval has one
        self._monitor.publish_metrics(self._monitor.aggregate_metrics())
        self._monitor.mlflow_logger.flush()

    @contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        with explain_failures(self.server, what):
            yield


@contextmanager
def explain_failures(server: TrackingServer, what: str) -> Iterator[None]:
    """Say in one line which server could not do what; a signal waits for the end of work in a database.

    Raises:
        TrackingError: In place of MLflow's own error, which becomes its cause.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with server.undisturbed():
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error, WriteError):
            raise  # of the project's own files
        # Of a dead server MLflow writes five lines, and of a database the whole statement.
        reason = server.find_fault() or str(error).strip().partition("\n")[0]
        raise TrackingError(f"MLflow at {server.shown_uri} could not {what}: {reason}") from error


def names_under(prefix: str, tags: Mapping[str, str]) -> set[str]:
    """What follows a prefix in the names of tags."""
    return {name.removeprefix(prefix) for name in tags if name.startswith(prefix)}


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
