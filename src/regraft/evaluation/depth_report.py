"""The page on depth: the figure, every probe with its intervals, and which differences are real.

Knows the scores as `score_depths` gives them; the page asks nothing of a network.
"""

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2
from matplotlib.figure import Figure

from regraft.evaluation.estimate_texts import difference_text, interval_text
from regraft.evaluation.figure_style import percent, png_bytes
from regraft.evaluation.several.scores import facts_of

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
    metric = measured_metrics(scores)[0]
    lines = [f"{'cut after':<32} {'this stage alone':>28} {'all stages up to it':>28}"]
    for row in scores["rows"]:
        cells = []
        for kind in TITLES:
            star = "*" if row["stage"] == scores["choice"][kind]["stage"] else " "
            cells.append(f"{interval_text(row[kind][metric], metric)}{star}")
        lines.append(f"{row['stage']:<32} {cells[0]:>28} {cells[1]:>28}")
    return [f"{title_of(metric).lower()} on {scores['num_images']:,} held-out training images", *lines]


def measured_metrics(scores: Mapping[str, Any]) -> Sequence[str]:
    """What there is of each depth, the one that is told first in front."""
    metrics: Sequence[str] = scores.get("metrics", ("accuracy", "log_loss"))
    return metrics


def _family(scores: Mapping[str, Any], kind: str) -> dict[str, Any]:
    metrics = measured_metrics(scores)
    differences = {row["stage"]: row for row in scores["differences"] if row["features"] == kind}
    told = metrics if len(metrics) == 2 else metrics[:1]  # more are too wide for a page
    compared = [("minus_best", metric) for metric in told] + [("minus_last", metrics[0])]
    others = {"minus_best": "minus best", "minus_last": "minus the last stage's"}
    choice = scores["choice"][kind]
    return {
        "kind": kind,
        "title": TITLES[kind],
        "reason": choice["reason"],
        "columns": [
            *map(title_of, metrics),
            *(
                f"{title_of(metric)} {others[other]}{', points' * facts_of(metric).is_fraction}"
                for other, metric in compared
            ),
        ],
        "rows": [
            {
                "stage": row["stage"],
                "is_chosen": row["stage"] == choice["stage"],
                "feature_dim": row[kind]["feature_dim"],
                "scores": [interval_text(row[kind][metric], metric) for metric in metrics],
                "differences": [
                    _difference(differences[row["stage"]][other][metric], metric)
                    for other, metric in compared
                ],
            }
            for row in scores["rows"]
        ],
    }


def title_of(metric: str) -> str:
    """As a heading has it: `Accuracy`, `age: mean absolute error`."""
    target, _, name = metric.rpartition(".")
    title = facts_of(name).title.removesuffix(" (nats)")
    return f"{target}: {title[0].lower()}{title[1:]}" if target else title


def _difference(estimate: Mapping[str, float], metric: str) -> dict[str, Any]:
    if estimate["low"] == estimate["high"] == 0:
        return {"text": "–", "is_clear": False}
    return {
        "text": difference_text(estimate, metric),
        "is_clear": estimate["low"] > 0 or estimate["high"] < 0,
    }


def _method(scores: Mapping[str, Any]) -> str:
    groups = f" in {scores['num_groups']:,} groups" if scores["num_groups"] else ""
    return (
        f"Linear probes on frozen features of {scores['num_images']:,} training images{groups}, cross-validated in "
        f"{scores['num_folds']} folds; no group is on both sides of a fold, and val and test are not looked at. "
        f"Intervals of {percent(scores['confidence'], 0)}, whole groups drawn; differences are paired, on the same "
        f"images. Of depths that are within one standard error of the best in {scores['metric'].replace('_', '-')} "
        "the shallowest is taken: it costs least to run."
    )
