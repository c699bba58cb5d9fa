"""What the person at the terminal sees: a line a step, a bar on what takes long, a table at the end.

Knows the artefacts by their catalog names; decides nothing.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from tqdm import tqdm

from regraft.adapters.closing_lines import closing_table, comparison_lines, sweep_lines
from regraft.adapters.runner import STEPS_LOGGER
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
        if describe := _FACTS.get(dataset_name):
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


def _splits(manifest: Any) -> str:
    counts = manifest["split"].value_counts()
    return ", ".join(f"{split} {counts.get(split, 0):,}" for split in ("train", "val", "test"))


def _head(history: Mapping[str, Any]) -> str:
    summary = history["summary"]
    if "penalty" in summary:
        return (
            f"penalty {summary['penalty']:g}, gradient {summary['gradient_norm']:.0e} after "
            f"{summary['iterations']} iterations"
        )
    return f"converged, best epoch {summary['best_epoch']}"


def _measured(metrics: Mapping[str, Any]) -> str:
    test = metrics["test"]
    return "test accuracy " + ", ".join(
        f"{model.replace('_', '-')} {test[model]['accuracy']['value']:.3f}"
        for model in ("probe", "fine_tuned")
    )


def _fine_tuning(history: Mapping[str, Any]) -> str:
    rows, found = history["rows"], history["val"]
    counting = sorted((row for row in history["search"] if row["weight"]), key=lambda row: -row["weight"])
    if len(counting) > 1:
        model = "mean of " + ", ".join(f"{row['candidate']} ({row['weight']:.0%})" for row in counting[:2])
        model += f" and {len(counting) - 2} more" if counting[2:] else ""
    else:
        model = "".join(f"{row['candidate']} chosen; " for row in counting)
        model += f"best epoch {history['best_epoch']} of {len(rows) - 1}"
    return (
        f"{model}; val log-loss {rows[0]['val_log_loss']:.3f} -> {found['val_log_loss']:.3f}, "
        f"accuracy {rows[0]['val_accuracy']:.3f} -> {found['val_accuracy']:.3f}"
    )


def _swept(found: Mapping[str, Any]) -> str:
    best, key = next(row for row in found["trials"] if row["is_best"]), f"val_{found['objective']}"
    return (
        f"{len(found['trials'])} settings tried; best: {key.replace('_', ' ')} {best[key]:.4f} with learning rate "
        f"{best['learning_rate']:.2g}"
    )


_FACTS: dict[str, Callable[[Any], str]] = {
    "image_index": lambda index: f"{len(index):,} images",
    "ingest_report": lambda report: (
        f"{report['num_unreadable']:,} more could not be read" if report["num_unreadable"] else ""
    ),
    "manifest": _splits,
    "data_card": lambda card: f"{len(card['notes'])} notes on the data",
    "preprocessing": lambda contract: (
        f"{contract['size']} px, {contract['fit']}, {contract['interpolation']}"
    ),
    "backbone": lambda backbone: (
        f"{backbone.spec.name}, {sum(p.numel() for p in backbone.parameters()) / 1e6:.1f} M weights"
    ),
    "features": lambda blocks: f"{blocks.shape[1]:,} features of every stage",
    "depth_scores": lambda scores: (
        f"best by {scores['metric'].replace('_', '-')}: {scores['choice']['last']['stage']} alone, "
        f"{scores['choice']['concat']['stage']} with all before it"
    ),
    "head_stages": lambda chosen: f"cut after {chosen['stages'][-1]}" if chosen["reason"] else "",
    "prediction_run": lambda run: (
        f"{run['num_predicted']:,} files predicted, {run['num_refused']:,} refused; see file_predictions.csv"
        + (" and refused_files.csv" if run["num_refused"] else "")
    ),
    "head_history": _head,
    "balance": lambda choice: "" if choice["chosen"] == "none" else f"balance {choice['chosen']}",
    "fine_tune_history": _fine_tuning,
    "metrics": _measured,
    "compared_probes": lambda probes: f"{len(probes)} backbones probed",
    "compared_fine_tuned": lambda tuned: f"{len(tuned)} fine-tuned",
    "comparison": lambda comparison: f"{comparison['chosen']['model']} chosen on val",
    "label_audit": lambda audit: (
        f"{audit['num_issues']:,} of {audit['num_images']:,} labels may be wrong; see label_audit.html"
    ),
    "sweep_trials": _swept,
    "registration": lambda registration: f"{registration['model'].replace('_', '-')} chosen",
}


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
