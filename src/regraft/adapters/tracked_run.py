"""One MLflow run: opened or joined, written to, and ended with the status it deserves.

Knows MLflow's client, but no Kedro: what to record is decided elsewhere.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from regraft.adapters.checkout import describe_checkout
from regraft.adapters.live_metrics import Buffered, LiveMetrics, MetricPoint, metric_key
from regraft.adapters.orphans import note_of, note_open_run
from regraft.adapters.tracking_server import TrackingError, TrackingServer
from regraft.adapters.write_faults import WriteError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_Item = TypeVar("_Item")
Status = Literal["FINISHED", "FAILED", "KILLED"]
DATA_TAG, COMMIT_TAG, ERROR_TAG = "data_sha256", "git_commit", "error"
_LINEAGE, _DONE, _REUSED = "regraft.lineage", "regraft.done.", "regraft.reused."
_MAX_METRICS, _MAX_PARAMS, _MAX_TAG_LENGTH = 1000, 100, 5000  # of one request; a tag may hold 8000 characters
_logger = logging.getLogger(__name__)


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
    """

    def __init__(self, client: "MlflowClient", run: "Run", server: TrackingServer) -> None:
        self.client = client
        self.server = server
        self.run_id: str = run.info.run_id
        self.run_name: str = run.info.run_name
        self.experiment_id: str = run.info.experiment_id
        self.params: dict[str, str] = dict(run.data.params)
        self.tags: dict[str, str] = dict(run.data.tags)
        self.registered: RegisteredVersion | None = None
        self.done = _names_under(_DONE, self.tags)
        self.reused = _names_under(_REUSED, self.tags)
        self._live = LiveMetrics(self._send, interval_s=server.options.send_interval_s)
        self._live.attach()
        self._monitor: Any = self._start_system_metrics()

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

        new = {metric_key(name): text[:_MAX_TAG_LENGTH] for name, text in tags.items()}
        new = {name: text for name, text in new.items() if self.tags.get(name) != text}
        with self._explaining("take tags"):
            for some in _chunks(list(new.items()), _MAX_PARAMS):
                self.client.log_batch(self.run_id, tags=[RunTag(name, text) for name, text in some])
        self.tags |= new

    def mark_done(self, node_names: Collection[str]) -> None:
        """Record that nodes ran to their end in this run."""
        self.set_tags({f"{_DONE}{metric_key(name)}": "1" for name in node_names})
        self.done |= {metric_key(name) for name in node_names}

    def mark_reused(self, node_name: str) -> None:
        """Record that what a node left behind is an earlier run's."""
        self.set_tags({f"{_REUSED}{metric_key(node_name)}": "1"})
        self.reused.add(metric_key(node_name))

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


def open_run(
    server: TrackingServer,
    *,
    parameters: Mapping[str, Any],
    tags: Mapping[str, str],
    redone: Collection[str],
    project_path: Path,
) -> TrackedRun:
    """Open the run that this process records into: a new row, or the one an earlier process began.

    One model is one row, whatever number of processes made it. A process joins the newest run of the same
    parameters, data and commit, unless one of the nodes it runs, or one after them, is recorded there as
    done: then it was rerun on purpose and gets its own row. `MLFLOW_RUN_ID` names a run to record into,
    `DVC_EXP_NAME` the new row.

    Args:
        server: Where.
        parameters: All of the project's, resolved.
        tags: Facts known so far.
        redone: The nodes that ran so far, the one about to run, and all that come after them.
        project_path: Whose git commit is recorded, and where a note says that the run is open.
    """
    with explain_failures(server, "open its database"):
        client = server.connect()
    lineage = lineage_key(parameters)
    tags = _tags_from(parameters, server.options.tags) | dict(tags) | _describe_git(project_path)
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
            tracked.end("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
    return tracked


@contextmanager
def explain_failures(server: TrackingServer, what: str) -> Iterator[None]:
    """Say in one line which server could not do what.

    Raises:
        TrackingError: In place of MLflow's own error, which becomes its cause.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error, WriteError):
            raise  # of the project's own files
        # Of a dead server MLflow writes five lines, and of a database the whole statement.
        reason = server.find_fault() or str(error).strip().partition("\n")[0]
        raise TrackingError(f"MLflow at {server.shown_uri} could not {what}: {reason}") from error


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
    if newest is None or _names_under(_DONE, newest.data.tags) & {metric_key(name) for name in redone}:
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
    return os.environ.get("DVC_EXP_NAME") or f"{tags.get('backbone', 'run')}-{lineage[:6]}"


def _describe_command() -> dict[str, str]:
    return {
        "mlflow.user": os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:_MAX_TAG_LENGTH],
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


def _names_under(prefix: str, tags: Mapping[str, str]) -> set[str]:
    return {name.removeprefix(prefix) for name in tags if name.startswith(prefix)}


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
