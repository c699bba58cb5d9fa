"""The Kedro hook that records in MLflow what runs.

Knows Kedro's hooks; what is recorded the catalog says (`recordings`). The domain knows nothing of it.
"""

import atexit
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.framework.hooks import hook_impl

from regraft.adapters.causes import cause_of
from regraft.adapters.interrupts import raise_on_termination
from regraft.adapters.orphans import end_orphan, forget_open_run, note_of
from regraft.adapters.present_run import PRESENT, current_server, summarize
from regraft.adapters.program import program_name, read_parameters, whole_program
from regraft.adapters.recordings import (
    Recordings,
    read_recordings,
    record_from_disk,
    record_output,
    tag_from_disk,
)
from regraft.adapters.tracking_server import (
    TrackingError,
    read_options,
    resolve_server,
)

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from regraft.adapters.tracked_run import Status, TrackedRun

_logger = logging.getLogger(__name__)


class TrackingHook:
    """Opens a run when the first recorded node really runs, fills it, and ends it with the right status.

    MLflow is not imported before that. A failure to record never costs a node's result: it stops the run
    before the next node, and what was not recorded is recorded from disk when the run is taken up again.
    """

    def __init__(self) -> None:
        self._context: KedroContext | None = None
        self._pipeline: Pipeline | None = None
        self._catalog: CatalogProtocol[Any, Any] | None = None
        self._recordings: Recordings = {}
        self._executed: list[str] = []
        self._saved: set[str] = set()
        self._failed_node: str | None = None
        self._failure: Exception | None = None

    @hook_impl
    def after_context_created(self, context: "KedroContext") -> None:
        """Read and check the configuration; a mistake in it stops the run here."""
        self._context = context
        try:
            config = context.config_loader["tracking"]
        except (KeyError, MissingConfigException) as error:
            raise TrackingError(
                f"no configuration for tracking: restore conf/base/tracking.yml ({error})"
            ) from error
        if set(config) != {"tracking"}:
            raise TrackingError(
                f"conf/**/tracking.yml: got keys {sorted(config)}; allowed is `tracking` alone"
            )
        PRESENT.server = resolve_server(
            read_options(config["tracking"]), project_path=Path(context.project_path)
        )

    @hook_impl
    def before_pipeline_run(self, pipeline: "Pipeline", catalog: "CatalogProtocol[Any, Any]") -> None:
        """Check the catalog's metadata, and that MLflow answers, before anything is computed."""
        _end_run("KILLED")  # one that an interrupt in a notebook left open
        PRESENT.summary = None
        self._pipeline, self._catalog = pipeline, catalog
        self._executed, self._failed_node, self._failure = [], None, None
        self._recordings = read_recordings(catalog, pipeline.all_outputs())
        if self._recordings:
            current_server().check()
            assert self._context is not None
            PRESENT.note = note_of(Path(self._context.project_path))
            end_orphan(PRESENT.note, current_server())

    @hook_impl
    def before_node_run(self, node: "Node", inputs: dict[str, Any]) -> None:
        """Open the run if this node is recorded; take in what earlier processes left behind."""
        if self._failure is not None:
            raise self._failure
        self._saved = set()
        if PRESENT.run is None and any(name in self._recordings for name in node.outputs):
            with current_server().undisturbed():
                self._open_run(node)
        if PRESENT.run is not None:
            self._record_ancestors(node, PRESENT.run, inputs)

    @hook_impl
    def after_node_run(self, node: "Node") -> None:
        """Send the node's last live metrics; see whether the rows of its models were written."""
        self._try(lambda run: run.send_live())
        self._try(lambda _: _raise_failure_of_models())
        if not node.outputs:
            self._finish(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: "Node") -> None:
        """Record an output; with the last of them the node is done."""
        if several := self._recordings.get(dataset_name):
            self._try(lambda run: record_output(run, self._known_catalog(), dataset_name, data, several))
        self._saved.add(dataset_name)
        if self._saved.issuperset(node.outputs):
            self._finish(node)

    @hook_impl
    def on_node_error(self, node: "Node") -> None:
        """Remember where it failed."""
        self._failed_node = node.name

    @hook_impl
    def on_pipeline_error(self, error: BaseException) -> None:
        """End the run as failed, or as killed where the runner tells of Ctrl-C or a signal."""
        if not isinstance(error, Exception):
            _end_run("KILLED")
            return
        where = f"{self._failed_node}: " if self._failed_node else ""
        cause = cause_of(error)
        lines = str(cause).strip().splitlines() or [""]
        _end_run("FAILED", error=f"{where}{type(cause).__name__}: {lines[0]}")

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the run as finished."""
        if self._failure is not None:
            _end_run("FAILED", error=str(self._failure))
            raise self._failure
        _end_run("FINISHED")

    def _open_run(self, node: "Node") -> None:
        from regraft.adapters.model_rows import ModelRows
        from regraft.adapters.run_rows import DATA_TAG, open_run

        if self._context is None:
            raise TrackingError("no Kedro context: start pipelines through `kedro run` or a KedroSession")
        catalog, whole = self._known_catalog(), self._whole_pipeline()
        earlier = whole.to_nodes(node.name).all_outputs() - set(node.outputs)
        read = read_parameters(whole)
        given = self._context.config_loader["parameters"]
        parameters = {name: value for name, value in given.items() if name in read}
        PRESENT.run = open_run(
            current_server(),
            parameters=parameters,
            tags=tag_from_disk(DATA_TAG, catalog, read_recordings(catalog, earlier)),
            redone={one.name for one in whole.from_nodes(node.name, *self._executed).nodes},
            project_path=Path(self._context.project_path),
            program=program_name(whole),
        )
        PRESENT.models = ModelRows(PRESENT.run, parameters)
        PRESENT.models.attach()
        _watch_for_interrupts()
        PRESENT.run.mark_done(self._executed)

    def _record_ancestors(self, node: "Node", run: "TrackedRun", inputs: dict[str, Any]) -> None:
        """Record what nodes before this one left on disk, unless the run has it: so each row is whole."""
        before = [one for one in self._whole_pipeline().to_nodes(node.name).nodes if one.name != node.name]
        reused = [one for one in before if not run.holds(one.name)]
        for ancestor in reused:
            recordings = read_recordings(self._known_catalog(), ancestor.outputs)
            record_from_disk(run, self._known_catalog(), recordings, inputs)
        run.mark_reused([one.name for one in reused])

    def _whole_pipeline(self) -> "Pipeline":
        assert self._pipeline is not None
        return whole_program(self._pipeline)

    def _known_catalog(self) -> "CatalogProtocol[Any, Any]":
        assert self._catalog is not None
        return self._catalog

    def _finish(self, node: "Node") -> None:
        if node.name not in self._executed:
            self._executed.append(node.name)
        self._try(lambda run: run.mark_done([node.name]))

    def _try(self, action: "Callable[[TrackedRun], None]") -> None:
        if PRESENT.run is None or self._failure is not None:
            return
        try:
            action(PRESENT.run)
        except (TrackingError, OSError) as error:
            _logger.warning("%s. The run stops before the next step; what is computed is kept", error)
            self._failure = error


def _end_run(status: "Status", *, error: str | None = None) -> None:
    if PRESENT.run is None:
        return
    run, PRESENT.run = PRESENT.run, None
    if PRESENT.models is not None:
        PRESENT.models.detach()
    PRESENT.models = None
    PRESENT.summary = summarize(run)
    try:
        run.end(status, error=error)
    except Exception as failure:
        if status == "FINISHED":
            raise
        _logger.warning("%s; there the run stays open until the next one here ends it", failure)
        return
    if PRESENT.note is not None:
        forget_open_run(PRESENT.note)


def _raise_failure_of_models() -> None:
    if PRESENT.models is not None and PRESENT.models.failure is not None:
        raise PRESENT.models.failure


def _watch_for_interrupts() -> None:
    """Arrange that Ctrl-C, which Kedro's own runners tell no hook of, and SIGTERM end the run as KILLED."""
    raise_on_termination()
    if PRESENT.watching_pid is None:
        atexit.register(_end_interrupted_run)
    PRESENT.watching_pid = os.getpid()


def _end_interrupted_run() -> None:
    if os.getpid() == PRESENT.watching_pid:  # and not a forked worker
        _end_run("KILLED")
