"""What the person at the terminal sees: a line a step, a bar on what takes long, a table at the end.

Knows the artefacts by their catalog names; decides nothing.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from tqdm import tqdm

from regraft.adapters.closing_lines import closing_table, comparison_lines, sweep_lines
from regraft.adapters.runner import STEPS_LOGGER
from regraft.adapters.step_facts import FACTS
from regraft.messages import PROGRESS_LOGGER

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

_BAR_AFTER_S = 2.0


class TerminalHook:
    """Writes to standard error while a pipeline runs, and the result to standard output."""

    def __init__(self) -> None:
        self._verbosity = 1
        self._run_started_s = 0.0
        self._node_started_s = 0.0
        self._num_run = 0
        self._steps: dict[str, _Step] = {}
        self._bar = _BarHandler()
        self._skips = _Listener(self._note_skip)

    def set_verbosity(self, verbosity: int) -> None:
        """0 writes the result alone, 1 a line a step and bars."""
        self._verbosity = verbosity

    @hook_impl
    def before_pipeline_run(self, pipeline: "Pipeline") -> None:
        """Listen to progress and skipped nodes."""
        self._run_started_s = time.monotonic()
        self._num_run = 0
        self._steps = {}
        for node in pipeline.nodes:
            self._steps.setdefault(_step_of(node), _Step()).num_left += 1
        progress = logging.getLogger(PROGRESS_LOGGER)
        progress.setLevel(logging.DEBUG)
        progress.propagate = False
        if self._verbosity and sys.stderr.isatty():
            progress.addHandler(self._bar)
        logging.getLogger(STEPS_LOGGER).addHandler(self._skips)

    @hook_impl
    def before_node_run(self) -> None:
        """Start a node's clock."""
        self._node_started_s = time.monotonic()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: "Node") -> None:
        """Note what there is to say about an artefact once it is safely there."""
        step = self._steps[_step_of(node)]
        if describe := FACTS.get(dataset_name):
            step.facts.append(describe(data))
        if dataset_name == node.outputs[-1]:
            self._num_run += 1
            step.seconds += time.monotonic() - self._node_started_s
            self._end_node(node)

    @hook_impl
    def after_pipeline_run(self, catalog: "CatalogProtocol[Any, Any]", pipeline: "Pipeline") -> None:
        """The result, where the pipeline ends with a registration, a comparison, a sweep or probes."""
        self._bar.close()
        minutes = (time.monotonic() - self._run_started_s) / 60
        made = {name for node in pipeline.nodes for name in node.outputs}
        lines: list[str] = []
        if "comparison" in made:
            lines += comparison_lines(
                catalog.load("comparison"), minutes=minutes, tracking=self._tracking("no new run")
            )
        if "best_parameters" in made:
            lines += sweep_lines(catalog.load("sweep_trials"), tracking=self._tracking("no new run"))
        if "depth_report" in made:
            from regraft.evaluation.depth_report import depth_table

            lines += ["", *depth_table(catalog.load("depth_scores"))]
            lines.append("figure and differences: data/08_reporting/depth_report.html")
        if "registration" in made:
            told = self._tracking("no new run, the registry stays as it is")
            lines += closing_table(
                catalog.load("metrics"), catalog.load("registration"), minutes=minutes, tracking=told
            )
        for line in lines:
            print(line)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Leave no bar behind."""
        self._bar.close()

    def _tracking(self, otherwise: str) -> list[str]:
        return _tracking_lines() if self._num_run else [f"nothing has changed: {otherwise}"]

    def _note_skip(self, record: Any) -> None:
        self._end_node(record.node)

    def _end_node(self, node: "Node") -> None:
        # Steps interleave: a node runs as soon as its inputs are there. A step's line comes with its last node.
        name, step = _step_of(node), self._steps[_step_of(node)]
        step.num_left -= 1
        if step.num_left == 0 and self._verbosity:
            self._bar.close()
            facts = "; ".join(filter(None, step.facts)) or ("done" if step.seconds else "up to date")
            print(f"{name:<15} {facts:<86} {step.seconds:6.1f} s", file=sys.stderr, flush=True)


@dataclass
class _Step:
    """How far a step has come: nodes left, what there is to say, seconds of those that ran."""

    num_left: int = 0
    facts: list[str] = field(default_factory=list)
    seconds: float = 0.0


def _tracking_lines() -> list[str]:
    from regraft.adapters.present_run import summary

    found = summary()
    if found is None:
        return []
    lines = [f"MLflow run: {found.run_name} ({found.run_id}) in {found.tracking_uri}"]
    if found.model_version is not None:
        aliases = ", ".join(found.aliases) or "no alias"
        lines.append(f"registered: models:/{found.model_name}/{found.model_version} ({aliases})")
    return lines


def _step_of(node: "Node") -> str:
    return next(iter(sorted(node.tags)), node.name)


class _Listener(logging.Handler):
    def __init__(self, function: Callable[[Any], None]) -> None:
        super().__init__()
        self._function = function

    def emit(self, record: logging.LogRecord) -> None:
        self._function(record)


class _BarHandler(logging.Handler):
    """Draws `regraft.progress` records; a task of less than two seconds never shows."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[Any] | None = None
        self._task = ""

    def emit(self, record: logging.LogRecord) -> None:
        task, done, total = record.task, record.done, record.total  # type: ignore[attr-defined]
        if task != self._task:
            self.close()
            self._task = task
            self._bar = tqdm(
                total=total, desc=task, delay=_BAR_AFTER_S, leave=False, file=sys.stderr, dynamic_ncols=True
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            if done >= total:
                self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._task = ""


TERMINAL = TerminalHook()
