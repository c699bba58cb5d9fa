"""The figure of scores against depth.

Knows the scores as `score_depths` gives them: no features, no network.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regraft.evaluation.depth_report import measured_metrics, title_of
from regraft.evaluation.figure_style import (
    GUIDE_COLOUR,
    MODEL_COLOURS,
    clip_name,
    house_style,
    new_figure,
    show_percent,
)
from regraft.evaluation.several.scores import facts_of

_STYLES: dict[str, dict[str, Any]] = {
    "last": {"color": MODEL_COLOURS["probe"], "marker": "o", "label": "this stage alone"},
    "concat": {"color": MODEL_COLOURS["fine_tuned"], "marker": "D", "label": "all stages up to it"},
}
_OFFSETS = {"last": -0.08, "concat": 0.08}
_INCHES_A_STAGE = 0.42
_MAX_PANELS = 5


def depth_figure(scores: Mapping[str, Any]) -> Figure:
    """A panel a metric, up to five: a dot with its interval a stage, a ring around the depth chosen."""
    metrics = list(measured_metrics(scores))[:_MAX_PANELS]
    with house_style():
        width, height = max(7.2, 2.5 + _INCHES_A_STAGE * len(scores["rows"])), 3.0 * len(metrics)
        figure = new_figure(width, height)
        panels = dict(
            zip(metrics, figure.subplots(len(metrics), 1, sharex=True, squeeze=False).ravel(), strict=True)
        )
        for place, (metric, axes) in enumerate(panels.items()):
            _draw(axes, scores, metric)
            facts = facts_of(metric)
            where = "on held-out training images" if place == 0 else "on the same images"
            axes.set_title(
                f"{title_of(metric)} {where}, {'higher' if facts.higher_is_better else 'lower'} is better"
            )
            if facts.title.endswith("(nats)"):
                axes.set_ylabel("nats")
            if facts.is_fraction:
                show_percent(axes, x=False, y=True)
        stages = [clip_name(row["stage"], 28) for row in scores["rows"]]
        turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, stages)) > 6 else {}
        lowest = panels[metrics[-1]]
        lowest.set_xticks(range(len(stages)), stages, **turned)
        lowest.set_xlabel("cut after (shallow to deep)")
        handles, labels = panels[scores["metric"]].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw(axes: Axes, scores: Mapping[str, Any], metric: str) -> None:
    for kind, style in _STYLES.items():
        estimates = [row[kind][metric] for row in scores["rows"]]
        places = [index + _OFFSETS[kind] for index in range(len(estimates))]
        values = [estimate["value"] for estimate in estimates]
        axes.vlines(
            places,
            [estimate["low"] for estimate in estimates],
            [estimate["high"] for estimate in estimates],
            color=style["color"],
            alpha=0.45,
            linewidth=1.6,
        )
        axes.plot(places, values, linewidth=1.4, markersize=5, **style)
        chosen = [row["stage"] for row in scores["rows"]].index(scores["choice"][kind]["stage"])
        is_deciding = metric == scores["metric"]
        axes.plot(
            places[chosen],
            values[chosen],
            linestyle="none",
            marker="o",
            markerfacecolor="none",
            markeredgewidth=1.4,
            color="black" if is_deciding else GUIDE_COLOUR,
            markersize=13,
            label="chosen by cut: auto" if is_deciding and kind == "concat" else None,
        )
    if not facts_of(metric).higher_is_better:
        _keep_readable(axes, scores, metric)


def _keep_readable(axes: Axes, scores: Mapping[str, Any], metric: str) -> None:
    """Cut off intervals that would press all dots together: one group far out can make a loss many times as large."""
    estimates = [row[kind][metric] for row in scores["rows"] for kind in _STYLES]
    top = 1.1 * max(estimate["value"] for estimate in estimates)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, max(top, 0.1) if metric == "log_loss" else top))
