"""The Kedro hook that records what runs in MLflow; which outputs are recorded, the catalog says.

Knows Kedro's hooks and the catalog's metadata; the domain knows nothing of it, and nothing of MLflow.

A catalog entry is recorded as its metadata say: `mlflow: metrics` (numbers of a nested mapping), `history` (a row a
step), `artifact` (its file or folder), `model` (a `RegisteredModelDataset`, which writes into the run itself) or
`tags` (only that); or the long form `mlflow: {kind: history, prefix: fine_tune, tags: {weights: receipt.name}}`; or a
list of these.
"""

import atexit
import hashlib
import logging
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from kedro.config import MissingConfigException
from kedro.framework import project
from kedro.framework.hooks import hook_impl
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from regraft.adapters.live_metrics import flatten_metrics, history_rows
from regraft.adapters.tracking_server import TrackingError, TrackingServer, read_options, resolve_server

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from regraft.adapters.tracked_run import TrackedRun

_logger = logging.getLogger(__name__)


class Recording(BaseModel):
    """How one catalog entry is recorded.

    Attributes:
        kind: What of it.
        prefix: Before the names of metrics, with a slash.
        folder: Of the run's artifacts.
        tags: Tags of the run, and where in the data each is found: a dotted path into mappings and attributes, or
            comma-separated columns of a table, whose distinct rows are hashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["metrics", "history", "artifact", "model", "tags"]
    prefix: str | None = None
    folder: str | None = None
    tags: dict[str, str] = {}


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


_server: TrackingServer | None = None
_run: "TrackedRun | None" = None
_summary: RunSummary | None = None


def current_server() -> TrackingServer:
    """Where this project's runs are kept.

    Raises:
        TrackingError: If no Kedro context was created in this process.
    """
    if _server is None:
        raise TrackingError("tracking is not configured: load the project with Kedro first (TrackingHook in settings.py)")
    return _server


def current_run() -> "TrackedRun":
    """The run that is open.

    Raises:
        TrackingError: If none is.
    """
    if _run is None:
        raise TrackingError("no MLflow run is open: it is opened by a node with a recorded output, in `kedro run`")
    return _run


def summary() -> RunSummary | None:
    """The last run of this process, open or ended; None if nothing was recorded."""
    return _summarize(_run) if _run is not None else _summary


class TrackingHook:
    """Opens a run when the first recorded node really runs, fills it, and ends it with the right status."""

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._pipeline: Pipeline | None = None
        self._catalog: CatalogProtocol | None = None
        self._recordings: dict[str, tuple[Recording, ...]] = {}
        self._executed: list[str] = []
        self._saved: set[str] = set()
        self._failed_node: str | None = None

    @hook_impl
    def after_context_created(self, context: "KedroContext") -> None:
        """Read and check the configuration; a mistake in it stops the run here."""
        global _server
        self._context = context
        try:
            config = context.config_loader["tracking"]
        except (KeyError, MissingConfigException) as error:
            raise TrackingError(f"no configuration for tracking: restore conf/base/tracking.yml ({error})") from error
        if set(config) != {"tracking"}:
            raise TrackingError(f"conf/**/tracking.yml: got keys {sorted(config)}; allowed is `tracking` alone")
        _server = resolve_server(read_options(config["tracking"]), project_path=Path(context.project_path))

    @hook_impl
    def before_pipeline_run(self, pipeline: "Pipeline", catalog: "CatalogProtocol") -> None:
        """Check the catalog's metadata, and that MLflow answers, before anything is computed."""
        global _summary
        _end_run("KILLED")  # one that an interrupt in a notebook left open
        _summary = None
        self._pipeline, self._catalog = pipeline, catalog
        self._executed, self._saved, self._failed_node = [], set(), None
        self._recordings = read_recordings(catalog, pipeline.all_outputs())
        if self._recordings:
            current_server().check()

    @hook_impl
    def before_node_run(self, node: "Node") -> None:
        """Open the run if this node is recorded and none is open; take in what earlier processes left behind."""
        self._saved = set()
        if _run is None and any(name in self._recordings for name in node.outputs):
            self._open_run(node)
        if _run is not None:
            self._record_ancestors(node, _run)

    @hook_impl
    def after_node_run(self, node: "Node") -> None:
        """Send the node's last live metrics."""
        if _run is not None:
            _run.send_live()
        if not node.outputs:
            self._finish_node(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: "Node") -> None:
        """Record an output; with the last of them the node is done."""
        if _run is not None and self._catalog is not None:
            record(_run, self._catalog, dataset_name, data, self._recordings.get(dataset_name, ()))
        self._saved.add(dataset_name)
        if self._saved.issuperset(node.outputs):
            self._finish_node(node)

    @hook_impl
    def on_node_error(self, node: "Node") -> None:
        """Remember where it failed."""
        self._failed_node = node.name

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the run as failed."""
        where = f"{self._failed_node}: " if self._failed_node else ""
        lines = str(error).strip().splitlines() or [""]
        _end_run("FAILED", error=f"{where}{type(error).__name__}: {lines[0]}")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run as finished."""
        _end_run("FINISHED")

    def _open_run(self, node: "Node") -> None:
        global _run
        from regraft.adapters.tracked_run import open_run

        if self._context is None or self._catalog is None:
            raise TrackingError("a node runs without a Kedro context: start it through `kedro run` or a KedroSession")
        whole = self._whole_pipeline()
        tags: dict[str, str] = {}
        for name, recordings in read_recordings(self._catalog, whole.to_nodes(node.name).all_outputs()).items():
            if name not in node.outputs and any(recording.tags for recording in recordings) and self._exists(name):
                tags |= _tags_in(self._catalog.load(name), recordings, name)
        redone = whole.from_nodes(node.name, *(name for name in self._executed))
        _run = open_run(
            current_server(),
            parameters=self._context.config_loader["parameters"],
            tags=tags,
            redone={one.name for one in redone.nodes},
            project_path=Path(self._context.project_path),
        )
        _watch_for_interrupts()
        _run.mark_done(self._executed)

    def _record_ancestors(self, node: "Node", run: "TrackedRun") -> None:
        """Record what nodes before this one left on disk, unless the run has it: then a row is whole by itself."""
        assert self._catalog is not None
        for ancestor in self._whole_pipeline().to_nodes(node.name).nodes:
            if ancestor.name == node.name or run.holds(ancestor.name):
                continue
            for name, recordings in read_recordings(self._catalog, ancestor.outputs).items():
                if self._exists(name):
                    needs_data = any(one.kind in {"metrics", "history"} or one.tags for one in recordings)
                    record(run, self._catalog, name, self._catalog.load(name) if needs_data else None, recordings)
            run.mark_reused(ancestor.name)

    def _whole_pipeline(self) -> "Pipeline":
        """The project's default pipeline where the running one is a part of it, else the running one."""
        assert self._pipeline is not None
        if "__default__" not in project.pipelines:
            project.pipelines.set_requested(None)  # Kedro loads only what the command names
        whole = project.pipelines.get("__default__")
        names = {node.name for node in self._pipeline.nodes}
        return whole if whole and names <= {node.name for node in whole.nodes} else self._pipeline

    def _exists(self, dataset_name: str) -> bool:
        assert self._catalog is not None
        return "MemoryDataset" not in type(self._catalog[dataset_name]).__name__ and self._catalog.exists(dataset_name)

    def _finish_node(self, node: "Node") -> None:
        if node.name not in self._executed:
            self._executed.append(node.name)
        if _run is not None:
            _run.mark_done([node.name])


def read_recordings(catalog: "CatalogProtocol", dataset_names: Iterable[str]) -> dict[str, tuple[Recording, ...]]:
    """What the catalog says is recorded, among some datasets.

    Raises:
        TrackingError: Naming every entry whose `metadata: {mlflow: …}` is not understood.
    """
    found, faults = {}, []
    for name in sorted(dataset_names):
        metadata = getattr(catalog.get(name, fallback_to_runtime_pattern=True), "metadata", None)
        if not isinstance(metadata, Mapping) or "mlflow" not in metadata:
            continue
        given = metadata["mlflow"]
        listed = given if isinstance(given, list) else [given]
        try:
            found[name] = _recordings.validate_python([{"kind": one} if isinstance(one, str) else one for one in listed])
        except ValidationError as error:
            faults += [f"{name}: {fault['msg']} (got {fault['input']!r})" for fault in error.errors()]
    if faults:
        raise TrackingError(f"catalog, metadata.mlflow: {'; '.join(faults)}. Keys: {', '.join(Recording.model_fields)}")
    return found


_recordings = TypeAdapter(tuple[Recording, ...])


def record(
    run: "TrackedRun", catalog: "CatalogProtocol", name: str, data: Any, recordings: tuple[Recording, ...]
) -> None:
    """Put one output into the run.

    Args:
        run: Where to.
        catalog: Knows where the output's file is.
        name: The output's.
        data: The output itself; not needed for an artifact.
        recordings: How.
    """
    run.set_tags(_tags_in(data, recordings, name))
    for recording in recordings:
        if recording.kind == "metrics":
            run.log_metrics(flatten_metrics(data, prefix=recording.prefix))
        elif recording.kind == "history":
            run.log_history(history_rows(data, prefix=recording.prefix))
        elif recording.kind == "artifact":
            run.log_file(_path_of(catalog, name), folder=recording.folder)


def _tags_in(data: Any, recordings: Iterable[Recording], name: str) -> dict[str, str]:
    sources = {tag: source for recording in recordings for tag, source in recording.tags.items()}
    return {tag: _find_fact(data, source, name) for tag, source in sources.items()}


def _find_fact(data: Any, source: str, name: str) -> str:
    if hasattr(data, "columns"):
        return hash_rows(data, source.replace(" ", "").split(","))
    for part in source.split("."):
        try:
            data = data[part] if isinstance(data, Mapping) else getattr(data, part)
        except (KeyError, AttributeError) as error:
            known = sorted(data) if isinstance(data, Mapping) else [one for one in dir(data) if not one.startswith("_")]
            raise TrackingError(f"catalog, {name}: metadata.mlflow.tags: no {source!r}; known: {known[:20]}") from error
    return str(data)


def hash_rows(table: Any, columns: list[str]) -> str:
    """Digest of a table's distinct rows over some columns, whatever their order.

    Args:
        table: A data frame.
        columns: Which columns, and in which order they enter.

    Raises:
        TrackingError: If a column is not there.
    """
    if missing := [column for column in columns if column not in table.columns]:
        raise TrackingError(f"metadata.mlflow.tags: no column {missing}; known: {list(table.columns)}")
    rows = {"\t".join(map(str, row)) for row in table[columns].itertuples(index=False)}
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _path_of(catalog: "CatalogProtocol", name: str) -> Path:
    dataset = catalog[name]
    if getattr(dataset, "_version", None) is not None:
        return Path(str(dataset._get_load_path()))
    for attribute in ("_filepath", "_path", "filepath", "path"):
        if (path := getattr(dataset, attribute, None)) is not None:
            return Path(str(path))
    raise TrackingError(f"catalog, {name}: mlflow: artifact needs a dataset with a filepath, got {type(dataset).__name__}")


def _summarize(run: "TrackedRun") -> RunSummary:
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


def _end_run(status: Literal["FINISHED", "FAILED", "KILLED"], *, error: str | None = None) -> None:
    global _run, _summary
    if _run is None:
        return
    run, _run = _run, None
    _summary = _summarize(run)
    try:
        run.end(status, error=error)
    except Exception as failure:
        if status == "FINISHED":
            raise
        _logger.warning("%s; the run stays open there", failure)  # the first error is the one to see


_owner_pid: int | None = None


def _watch_for_interrupts() -> None:
    """Arrange that Ctrl-C, which Kedro tells no hook of, and SIGTERM end the run as KILLED."""
    global _owner_pid
    if _owner_pid is None:
        atexit.register(_end_interrupted_run)
    _owner_pid = os.getpid()
    try:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _exit_on_sigterm)
    except ValueError:  # not the main thread
        _logger.debug("SIGTERM will leave the run open: not started on the main thread")


def _end_interrupted_run() -> None:
    if os.getpid() != _owner_pid:  # a forked worker
        return
    # Whoever interrupts does not want to wait minutes for a server that is gone.
    os.environ.update(MLFLOW_HTTP_REQUEST_MAX_RETRIES="1", MLFLOW_HTTP_REQUEST_TIMEOUT="5")
    _end_run("KILLED")


def _exit_on_sigterm(signum: int, frame: FrameType | None) -> None:
    if os.getpid() != _owner_pid:
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    raise SystemExit(128 + signum)
