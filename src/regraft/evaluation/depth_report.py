"""The page on depth: the figure, every probe with its intervals, and which differences are real.

Knows the scores as `score_depths` gives them; the page asks nothing of a network.
"""

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from matplotlib.figure import Figure

from regraft.evaluation.figure_style import percent, png_bytes

TITLES = {"last": "One stage alone", "concat": "All stages up to it"}
_PIXELS_PER_INCH = 100


def render_depths(scores: Mapping[str, Any], figure: Figure, *, title: str) -> str:
    """HTML that holds everything it shows, the same bytes for the same input.

    Args:
        scores: What `score_depths` gave.
        figure: What `depth_figure` drew of it.
        title: Heading of the page.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("regraft.evaluation").joinpath("depth_report.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        title=title,
        families=[_family(scores, kind) for kind in TITLES],
        method=_method(scores),
        png=base64.b64encode(png_bytes(figure)).decode(),
        width=round(figure.get_size_inches()[0] * _PIXELS_PER_INCH),
    )


def depth_table(scores: Mapping[str, Any]) -> list[str]:
    """The table as lines of text, for a terminal; a star marks the depth chosen."""
    lines = [f"{'cut after':<32} {'this stage alone':>28} {'all stages up to it':>28}"]
    for row in scores["rows"]:
        cells = []
        for kind in TITLES:
            star = "*" if row["stage"] == scores["choice"][kind]["stage"] else " "
            cells.append(f"{_with_interval(row[kind]['accuracy'])}{star}")
        lines.append(f"{row['stage']:<32} {cells[0]:>28} {cells[1]:>28}")
    return [f"accuracy on {scores['num_images']:,} held-out training images", *lines]


def _family(scores: Mapping[str, Any], kind: str) -> dict[str, Any]:
    differences = {row["stage"]: row for row in scores["differences"] if row["features"] == kind}
    choice = scores["choice"][kind]
    return {
        "kind": kind,
        "title": TITLES[kind],
        "reason": choice["reason"],
        "rows": [
            {
                "stage": row["stage"],
                "is_chosen": row["stage"] == choice["stage"],
                "feature_dim": row[kind]["feature_dim"],
                "accuracy": _with_interval(row[kind]["accuracy"]),
                "log_loss": _numbers(row[kind]["log_loss"], 1, 3),
                "differences": [
                    _difference(differences[row["stage"]][other][metric], scale, digits)
                    for other, metric, scale, digits in (
                        ("minus_best", "accuracy", 100, 1),
                        ("minus_best", "log_loss", 1, 3),
                        ("minus_last", "accuracy", 100, 1),
                    )
                ],
            }
            for row in scores["rows"]
        ],
    }


def _difference(estimate: Mapping[str, float], scale: float, digits: int) -> dict[str, Any]:
    if estimate["low"] == estimate["high"] == 0:
        return {"text": "–", "is_clear": False}
    return {
        "text": _numbers(estimate, scale, digits, sign="+"),
        "is_clear": estimate["low"] > 0 or estimate["high"] < 0,
    }


def _numbers(estimate: Mapping[str, float], scale: float, digits: int, *, sign: str = "") -> str:
    value, low, high = (f"{scale * estimate[key]:{sign}.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _with_interval(estimate: Mapping[str, float]) -> str:
    low = percent(estimate["low"]).removesuffix(" %")
    return f"{percent(estimate['value'])} ({low} to {percent(estimate['high'])})"


def _method(scores: Mapping[str, Any]) -> str:
    groups = f" in {scores['num_groups']:,} groups" if scores["num_groups"] else ""
    return (
        f"Linear probes on frozen features of {scores['num_images']:,} training images{groups}, cross-validated in "
        f"{scores['num_folds']} folds; no group is on both sides of a fold, and val and test are not looked at. "
        f"Intervals of {percent(scores['confidence'], 0)}, whole groups drawn; differences are paired, on the same "
        f"images. Of depths that are within one standard error of the best in {scores['metric'].replace('_', '-')} "
        "the shallowest is taken: it costs least to run."
    )
