"""Progress and live metrics, sent as records of the standard `logging` module.

Knows neither who listens nor how a record is shown: a terminal bar, an MLflow run, or nobody.
"""

import logging
from collections.abc import Mapping

METRICS_LOGGER = "regraft.metrics"
PROGRESS_LOGGER = "regraft.progress"

_metrics = logging.getLogger(METRICS_LOGGER)
_progress = logging.getLogger(PROGRESS_LOGGER)


def report_metrics(metrics: Mapping[str, float], *, step: int) -> None:
    """Tell whoever listens the metrics of one step (an epoch, an iteration) of training.

    Args:
        metrics: Slash-separated names, the training stage first (`fine_tune/val_loss`), and their values.
        step: Counts from 0; the state before any training is step 0.
    """
    text = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    _metrics.info("step %d: %s", step, text, extra={"metrics": dict(metrics), "step": step})


def report_tags(tags: Mapping[str, str]) -> None:
    """Tell whoever listens facts of the whole run, such as the device it computes on."""
    _metrics.info("%s", dict(tags), extra={"tags": dict(tags)})


def report_progress(task: str, done: int, total: int) -> None:
    """Tell whoever listens how far a task has come.

    Args:
        task: What is being done, in a few words (`reading images`); the same text all along one task.
        done: Units done so far, in [0, total].
        total: Units in all.
    """
    _progress.debug("%s: %d of %d", task, done, total, extra={"task": task, "done": done, "total": total})
