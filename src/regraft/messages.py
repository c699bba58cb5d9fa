"""Progress and live metrics, sent as records of the standard `logging` module.

Knows neither who listens nor how a record is shown: a terminal bar, an MLflow run, or nobody.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

METRICS_LOGGER = "regraft.metrics"
PROGRESS_LOGGER = "regraft.progress"

_metrics = logging.getLogger(METRICS_LOGGER)
_progress = logging.getLogger(PROGRESS_LOGGER)
_model: ContextVar[str | None] = ContextVar("model", default=None)

_is_muted: ContextVar[bool] = ContextVar("is_muted", default=False)

Ended = Literal["FINISHED", "FAILED", "KILLED"]


@contextmanager
def about_model(name: str, *, parameters: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Within it, metrics and tags are of one model among several that a run tries, no longer of the run itself.

    It may be entered again for the same name: what is reported then is added.

    Args:
        name: One name a model in a run.
        parameters: What is set otherwise for this model than for the run, nested as in the configuration.
    """
    if _model.get() is not None:
        raise ValueError(f"{name!r} begins before {_model.get()!r} has ended")
    token = _model.set(name)
    ended: Ended = "KILLED"
    try:
        _metrics.info("%s begins", name, extra={"begun": name, "parameters": dict(parameters or {})})
        yield
        ended = "FINISHED"
    except Exception:
        ended = "FAILED"
        raise
    finally:
        _model.reset(token)
        _metrics.info("%s: %s", name, ended.lower(), extra={"ended": name, "status": ended})


@contextmanager
def muted() -> Iterator[None]:
    """Within it nothing is reported: for work that is a measurement of itself, such as how long it takes."""
    token = _is_muted.set(True)
    try:
        yield
    finally:
        _is_muted.reset(token)


def report_metrics(metrics: Mapping[str, float], *, step: int) -> None:
    """Tell whoever listens the metrics of one step (an epoch, an iteration) of training.

    Args:
        metrics: Slash-separated names, the training stage first (`fine_tune/val_loss`), and their values.
        step: Counts from 0; the state before any training is step 0.
    """
    if _is_muted.get():
        return
    text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    _metrics.info(
        "step %d: %s", step, text, extra={"metrics": dict(metrics), "step": step, "model": _model.get()}
    )


def report_tags(tags: Mapping[str, str]) -> None:
    """Tell whoever listens facts of the whole run, such as the device it computes on."""
    if not _is_muted.get():
        _metrics.info("%s", dict(tags), extra={"tags": dict(tags), "model": _model.get()})


def report_progress(task: str, done: int, total: int) -> None:
    """Tell whoever listens how far a task has come.

    Args:
        task: What is being done, in a few words (`reading images`); the same text all along one task.
        done: Units done so far, in [0, total].
        total: Units in all.
    """
    if not _is_muted.get():
        _progress.debug("%s: %d of %d", task, done, total, extra={"task": task, "done": done, "total": total})
