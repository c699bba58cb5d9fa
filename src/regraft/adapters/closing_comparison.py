"""What the person at the terminal reads at the end of a comparison: the table, the choice, and where everything is.

Knows what `comparing.comparison.compare_models` gives; decides nothing.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_LINE_WIDTH = 110


def comparison_lines(comparison: Mapping[str, Any], *, minutes: float, tracking: Sequence[str]) -> list[str]:
    """A line a model, the chosen one first; the sentences; the files."""
    from regraft.comparing.page import finetune_command, verdict

    metric = comparison["selection_metric"]
    titles = (f"{metric.replace('_', '-')}, val", "accuracy, test", "difference, points", "p")
    widths = (14, 24, 24, 7, 8, 8, 6, 9)
    heads = (*titles, "minutes", "weights", "MB", "images/s")
    lines = [
        "",
        f"{'model':<26}" + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)),
    ]
    for row in comparison["models"]:
        estimate, difference = row["test"][row["variant"]]["accuracy"], row["difference"]
        name = row["model"] + (" *" if row["variant"] == "fine_tuned" else "")
        cells = (
            f"{row['val'][row['variant']][metric]['value']:.3f}",
            _interval(estimate, 1.0, 3),
            "chosen" if difference is None else _interval(difference, 100.0, 1),
            "" if difference is None else f"{difference['adjusted_p_value']:.3f}",
            f"{row['minutes']:.1f}",
            f"{row['num_parameters'] / 1e6:.1f} M",
            f"{row['megabytes']:.0f}",
            f"{row['images_per_second']:.0f}",
        )
        lines.append(
            f"{name:<26}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        )
    lines += [
        "(* fine-tuned, the others are probes; differences are to the chosen model, corrected for their number)",
        "",
    ]
    for row in comparison["models"]:
        lines += _wrapped(f"{row['model']}: {row['outcome']}")
    return [
        *lines,
        *_wrapped(verdict(comparison)),
        "",
        f"to make the chosen model: {finetune_command(comparison)}",
        *tracking,
        "page: data/08_reporting/comparison/comparison.html (table beside it)",
        f"{minutes:.1f} minutes",
    ]


def _interval(estimate: Mapping[str, Any], scale: float, digits: int) -> str:
    value = f"{scale * estimate['value']:.{digits}f}"
    if estimate.get("low") is None:
        return value
    return f"{value} ({scale * estimate['low']:.{digits}f} to {scale * estimate['high']:.{digits}f})"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_WIDTH, initial_indent="  ", subsequent_indent="    ")
