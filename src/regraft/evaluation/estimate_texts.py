"""Scores as text: a value, a value with its interval, a difference.

Knows the table of metrics and estimates as dicts; no page.
"""

from collections.abc import Mapping
from typing import Any

from regraft.evaluation.figure_style import percent
from regraft.evaluation.metrics import METRICS


def number_text(value: float | None, metric: str) -> str:
    """A metric's value: percent for fractions, else three digits."""
    if value is None:
        return "–"
    return percent(value) if METRICS[metric].is_fraction else f"{value:.3f}"


def interval_text(estimate: Mapping[str, Any], metric: str) -> str:
    """`92.5 % (90.5 to 94.5)`."""
    text = number_text(estimate["value"], metric)
    if estimate["low"] is None:
        return text
    low, high = (number_text(estimate[key], metric).removesuffix(" %") for key in ("low", "high"))
    return f"{text} ({low} to {high})"


def difference_text(estimate: Mapping[str, Any], metric: str) -> str:
    """`+4.3 (+2.1 to +6.4)`, in percentage points for fractions."""
    if estimate["value"] is None:
        return "–"
    scale, digits = (100, 1) if METRICS[metric].is_fraction else (1, 3)
    shown = [
        f"{scale * estimate[key]:+.{digits}f}".replace("-", "−")
        for key in ("value", "low", "high")
        if estimate[key] is not None
    ]
    return shown[0] if len(shown) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"
