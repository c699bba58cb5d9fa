"""Scores as text: a value, a value with its interval, a difference.

Knows the facts of metrics and estimates as dicts; no page.
"""

import math
from collections.abc import Mapping
from typing import Any

from regraft.evaluation.figure_style import percent
from regraft.evaluation.several.scores import facts_of

_NUM_DIGITS = 3  # that count, of numbers in a unit of the data


def number_text(value: float | None, metric: str) -> str:
    """A metric's value: percent for fractions, else three digits."""
    if value is None:
        return "–"
    return _shown(value, metric, _num_decimals(value, metric))


def interval_text(estimate: Mapping[str, Any], metric: str) -> str:
    """`92.5 % (90.5 to 94.5)`."""
    if estimate["low"] is None:
        return number_text(estimate["value"], metric)
    decimals = _num_decimals(estimate["value"], metric)
    text, low, high = (_shown(estimate[key], metric, decimals) for key in ("value", "low", "high"))
    return f"{text} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def difference_text(estimate: Mapping[str, Any], metric: str) -> str:
    """`+4.3 (+2.1 to +6.4)`, in percentage points for fractions."""
    if estimate["value"] is None:
        return "–"
    numbers = [estimate[key] for key in ("value", "low", "high") if estimate[key] is not None]
    scale = 100 if facts_of(metric).is_fraction else 1
    digits = _num_decimals(max(numbers, key=abs), metric)
    shown = [f"{scale * number:+,.{digits}f}".replace("-", "−") for number in numbers]
    return shown[0] if len(shown) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def _shown(value: float, metric: str, decimals: int) -> str:
    shown = percent(value, decimals) if facts_of(metric).is_fraction else f"{value:,.{decimals}f}"
    return shown.replace("-", "−")


def _num_decimals(value: float, metric: str) -> int:
    """One of a percentage, else three; in a unit of the data or the image as many as show three digits that count."""
    facts = facts_of(metric)
    if not facts.has_unit or not value:
        return 1 if facts.is_fraction else _NUM_DIGITS
    size = math.floor(math.log10(abs(100 * value if facts.is_fraction else value)))
    return max(0, _NUM_DIGITS - 1 - size)
