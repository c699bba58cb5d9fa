"""The figure of the scores of several targets: each on an axis of its own, beside what fine-tuning changes.

Knows metrics as `measure_several` gives them; no table, no image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regraft.evaluation.figure_style import (
    BASELINE_COLOUR,
    GUIDE_COLOUR,
    MODEL_COLOURS,
    MODEL_MARKERS,
    clip_name,
    new_figure,
    show_percent,
)
from regraft.evaluation.predictions import MODEL_TITLES, MODELS
from regraft.evaluation.score_figures import draw_difference, draw_dots
from regraft.evaluation.several.notes import BASELINE_TITLES
from regraft.evaluation.several.scores import JOINT_LOSS, facts_of
from regraft.training.target_answers import Target, headline_metric

_ROW_INCHES = 1.4


def scores_figure(metrics: Mapping[str, Any], targets: Sequence[Target]) -> Figure:
    """The headline metric of each target on test beside one answer for all images, the joint loss, and differences."""
    rows = [(target["name"], headline_metric(target), BASELINE_TITLES[target["kind"]]) for target in targets]
    rows.append(("all targets", JOINT_LOSS, {}))
    figure = new_figure(9.6, _ROW_INCHES * len(rows) + 0.2)
    num_targets = len(metrics["targets"])
    if len(targets) < num_targets:
        title = f"Drawn are the first {len(targets)} of {num_targets} targets"
        figure.suptitle(title, fontweight="bold", fontsize=10.5)
    panels = figure.subplots(len(rows), 2, width_ratios=[2.1, 1], squeeze=False)
    for (name, metric, titles), (scores, difference) in zip(rows, panels, strict=True):
        facts = facts_of(metric)
        arrow = "higher" if facts.higher_is_better else "lower"
        title = facts.title if metric == JOINT_LOSS else f"{clip_name(name, 24)}: {facts.title.lower()}"
        scores.set_title(f"{title}, {arrow} is better")
        _draw_scores(scores, metric, titles, metrics)
        difference.axvline(0, color=GUIDE_COLOUR, linewidth=1.2)
        scale = 100 if facts.is_fraction else 1
        draw_difference(difference, 0, metrics["test"]["difference"][metric], scale=scale)
        difference.set_title("Fine-tuned minus probe")
        difference.set_yticks([])
        difference.set_ylim(-1, 1)
        difference.xaxis.set_major_locator(MaxNLocator(4))
        for axes in (scores, difference):
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
        if facts.is_fraction:
            show_percent(scores, x=True, y=False)
            difference.set_xlabel("percentage points")
    return figure


def _draw_scores(axes: Axes, metric: str, titles: Mapping[str, str], metrics: Mapping[str, Any]) -> None:
    """A row a model, fine-tuned first, and one for the constant answer."""
    rows = [
        (MODEL_TITLES[model], metrics["test"][model][metric], MODEL_COLOURS[model], MODEL_MARKERS[model])
        for model in reversed(MODELS)
    ]
    if "constant" in titles:
        estimate = metrics["baselines"]["constant"][metric]
        rows.append((titles["constant"].removeprefix("the "), estimate, BASELINE_COLOUR, "v"))
    for height, (title, estimate, colour, marker) in enumerate(rows):
        if estimate["value"] is not None:
            draw_dots(axes, [(height, estimate)], title, {"marker": marker, "color": colour})
    axes.set_yticks(np.arange(len(rows)), [title for title, *_ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
