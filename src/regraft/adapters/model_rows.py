"""Rows of MLflow below a run's own, one for each model that it tries: opened and ended as `messages` tells of them.

Knows the log records of `messages.about_model` and an open run; not what tries the models.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from regraft.adapters.tracked_run import TrackedRun, explain_failures
from regraft.adapters.tracking_server import TrackingError
from regraft.messages import METRICS_LOGGER

if TYPE_CHECKING:
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"  # MLflow's own: its table folds the rows below their parent
MODEL_TAG = "model"
_INHERITED = ("data_sha256", "git_commit", "git_tree", "program", "mlflow.user", "mlflow.source.git.commit")


class ModelRows(logging.Handler):
    """Gives each model that is reported of a row below the run's, and ends it when nothing more is reported.

    A row that an earlier process began under the same run is taken up again. What cannot be recorded is kept in
    `failure` for the hook to stop at: no model's result is lost by it.

    Args:
        parent: The run that is open.
        parameters: Its own, nested: each row holds them, less what is otherwise for its model.
    """

    def __init__(self, parent: TrackedRun, parameters: Mapping[str, Any]) -> None:
        super().__init__(level=logging.INFO)
        self._parent = parent
        self._parameters = parameters
        self._open: TrackedRun | None = None
        self.failure: Exception | None = None

    def attach(self) -> None:
        """Start to listen; the parent's own listening has set the logger's level."""
        logging.getLogger(METRICS_LOGGER).addHandler(self)

    def detach(self) -> None:
        """Stop to listen."""
        logging.getLogger(METRICS_LOGGER).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Open or end a row."""
        try:
            with self._parent.server.undisturbed():
                if (name := getattr(record, "begun", None)) is not None:
                    self._open = self._begin(name, getattr(record, "parameters", {}))
                elif self._open is not None and hasattr(record, "ended"):
                    row, self._open = self._open, None
                    row.end(getattr(record, "status", "FAILED"))
        except (TrackingError, OSError) as error:
            self.failure = error

    def _begin(self, name: str, changes: Mapping[str, Any]) -> TrackedRun:
        from regraft.adapters.run_rows import flatten_parameters

        parent = self._parent
        with explain_failures(parent.server, f"open a row for {name}"):
            found = self._find(name)
            run = found or parent.client.create_run(
                parent.experiment_id,
                run_name=name,
                tags={
                    PARENT_TAG: parent.run_id,
                    MODEL_TAG: name,
                    **{tag: parent.tags[tag] for tag in _INHERITED if tag in parent.tags},
                },
            )
            parent.client.update_run(run.info.run_id, status="RUNNING")
        row = TrackedRun(parent.client, run, parent.server, model=name)
        try:
            if found is None:
                row.log_parameters(flatten_parameters(_merged(self._parameters, changes)))
        except BaseException:
            row.end("FAILED")
            raise
        return row

    def _find(self, name: str) -> "Run | None":
        below = self._parent.client.search_runs(
            [self._parent.experiment_id],
            f"tags.`{PARENT_TAG}` = '{self._parent.run_id}'",
            max_results=1000,
        )
        return next((run for run in below if run.data.tags.get(MODEL_TAG) == name), None)


def _merged(onto: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(onto)
    for key, value in changes.items():
        is_inner = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if is_inner else value
    return both
