"""Metrics on their way to a run: flattened, named as MLflow allows, sent in batches while training goes on.

Knows the `regraft.metrics` log records, but neither Kedro nor which run listens.
"""

import logging
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from regraft.messages import METRICS_LOGGER

# What MLflow allows in a key, less the slash at either end and the empty part, which it refuses as a path.
_NOT_ALLOWED = re.compile(r"[^\w/.\- :]")


@dataclass(frozen=True)
class MetricPoint:
    """One value of one metric; `timestamp_ms` is when it was measured, not when it was sent."""

    key: str
    value: float
    step: int
    timestamp_ms: int


@dataclass
class Buffered:
    """What waits to be sent."""

    points: list[MetricPoint] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.points or self.tags)


class LiveMetrics(logging.Handler):
    """Collects the records of `regraft.metrics`, and hands them over every `interval_s` on its own thread.

    A record may carry `metrics` and `step`, or `tags` (facts known only at run time, such as the device). A
    batch that could not be sent is kept for the next attempt; a failed `send_now` is the caller's to see.

    Args:
        send: Takes a batch.
        interval_s: Between two batches.
        model: Listen to what is reported of this model (`messages.about_model`); None: of no model in particular.
    """

    def __init__(
        self, send: Callable[[Buffered], None], *, interval_s: float, model: str | None = None
    ) -> None:
        super().__init__(level=logging.INFO)
        self._send = send
        self._model = model
        self._interval_s = interval_s
        self._buffered = Buffered()
        self._buffering = threading.Lock()
        self._sending = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._send_regularly, name="regraft-live-metrics", daemon=True)

    def attach(self) -> None:
        """Start to listen.

        Where logging is set above INFO, the logger is opened for this handler alone: the records still reach
        the run, and a quiet terminal stays quiet.
        """
        logger = logging.getLogger(METRICS_LOGGER)
        self._logger_before = logger.level, logger.propagate, logger.disabled
        logger.disabled = False
        if not logger.isEnabledFor(logging.INFO):
            logger.setLevel(logging.INFO)
            logger.propagate = False
        logger.addHandler(self)
        self._thread.start()

    def detach(self) -> None:
        """Stop to listen; what is buffered stays for a last `send_now`."""
        logger = logging.getLogger(METRICS_LOGGER)
        logger.removeHandler(self)
        level, logger.propagate, logger.disabled = self._logger_before
        logger.setLevel(level)
        self._stopped.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=self._interval_s)

    def emit(self, record: logging.LogRecord) -> None:
        """Buffer one record, if it is meant for here."""
        if getattr(record, "model", None) != self._model:
            return
        metrics, tags = getattr(record, "metrics", None) or {}, getattr(record, "tags", None) or {}
        step, timestamp_ms = int(getattr(record, "step", 0)), int(record.created * 1000)
        with self._buffering:
            self._buffered.points += [
                MetricPoint(metric_key(name), float(value), step, timestamp_ms)
                for name, value in metrics.items()
            ]
            self._buffered.tags |= {name: str(value) for name, value in tags.items()}

    def send_now(self) -> None:
        """Send what is buffered, on this thread; raises what `send` raises."""
        with self._sending:
            with self._buffering:
                batch, self._buffered = self._buffered, Buffered()
            if not batch:
                return
            try:
                self._send(batch)
            except BaseException:
                with self._buffering:
                    later = self._buffered
                    self._buffered = Buffered(batch.points + later.points, batch.tags | later.tags)
                raise

    def _send_regularly(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self.send_now()
            except Exception as error:
                logging.getLogger(__name__).debug("live metrics wait, could not be sent: %s", error)


def metric_key(name: str) -> str:
    """A name as MLflow allows it: letters, digits and `_ - . : /`; anything else becomes `_`."""
    parts = _NOT_ALLOWED.sub("_", name).split("/")
    return "/".join("_" if part in {"", ".", ".."} else part for part in parts)


def flatten_metrics(data: Any, *, prefix: str | None = None) -> dict[str, float]:
    """Numbers of a nested mapping under slash-separated names.

    Args:
        data: A mapping, nested at will; the name `value` stands for the mapping it is in (`accuracy: {value,
            low, high}`). Texts, truth values, nothing and lists are no metrics: left out.
        prefix: Put before every name, with a slash.

    Returns:
        In the mapping's order.
    """
    found: dict[str, float] = {}
    for name, value in data.items():
        path = "/".join([*([prefix] if prefix else []), *([] if name == "value" and prefix else [str(name)])])
        if isinstance(value, Mapping):
            found |= flatten_metrics(value, prefix=path)
        elif isinstance(value, Real) and not isinstance(value, bool):
            found[metric_key(path)] = float(value)
    return found


def history_rows(data: Any, *, prefix: str | None = None) -> list[tuple[int, dict[str, float]]]:
    """Steps and their metrics of a history.

    Args:
        data: A data frame, a list of mappings, or a mapping with such a list as `rows`: a row a step. Column
            `step`, else `epoch`, else the row's position is the step; other columns of numbers are metrics.
        prefix: Put before every name, with a slash.

    Returns:
        `(step, metrics)` in row order; a missing value (NaN) is no metric of its step.
    """
    data = data["rows"] if isinstance(data, Mapping) else data
    rows: Sequence[Mapping[str, Any]] = data.to_dict(orient="records") if hasattr(data, "to_dict") else data
    found = []
    for position, row in enumerate(rows):
        name = next((name for name in ("step", "epoch") if name in row), None)
        step = position if name is None else int(row[name])
        metrics = flatten_metrics({key: value for key, value in row.items() if key != name}, prefix=prefix)
        found.append((step, {key: value for key, value in metrics.items() if not math.isnan(value)}))
    return found
