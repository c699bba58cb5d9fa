"""The Markdown that a model card is made of: rows, lists, names, numbers with their intervals.

Knows no metric by name, and nothing of models.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def table(heading: Sequence[str], lines: Sequence[Sequence[str]], *, are_numbers: bool) -> str:
    """A table; numbers stand to the right in all columns but the first."""
    rule = ["---", *(["---:" if are_numbers else "---"] * (len(heading) - 1))]
    return "\n".join(map(_row, [heading, rule, *lines]))


def bullets(sentences: Iterator[str] | Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"* {sentence}" for sentence in sentences)


def some_names(names: Sequence[str], limit: int = 20) -> str:
    """Names in a row, cut with a count where there are many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def with_interval(estimate: Mapping[str, Any], is_fraction: bool) -> str:
    """`92.5 % (90.5 to 94.5)`, or without percent; a dash where it is not defined."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "–"
    scale, digits, unit = (100, 1, " %") if is_fraction else (1, 3, "")
    text = f"{scale * value:.{digits}f}{unit}"
    return text if low is None else f"{text} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def _row(cells: Sequence[str]) -> str:
    """A line of a table; what would end a cell or the line is defused."""
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"
