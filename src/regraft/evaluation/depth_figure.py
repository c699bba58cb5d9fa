"""The figure of accuracy and log-loss against depth.

Knows the scores as `score_depths` gives them: no features, no network.
"""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regraft.evaluation.figure_style import (
    GUIDE_COLOUR,
    MODEL_COLOURS,
    clip_name,
    house_style,
    new_figure,
    show_percent,
)

_STYLES: dict[str, dict[str, Any]] = {
    "last": {"color": MODEL_COLOURS["probe"], "marker": "o", "label": "this stage alone"},
    "concat": {"color": MODEL_COLOURS["fine_tuned"], "marker": "D", "label": "all stages up to it"},
}
_OFFSETS = {"last": -0.08, "concat": 0.08}
_INCHES_A_STAGE = 0.42


def depth_figure(scores: Mapping[str, Any]) -> Figure:
    """Two panels, accuracy above log-loss: a dot with its interval a stage, a ring around the depth chosen."""
    with house_style():
        figure = new_figure(max(7.2, 2.5 + _INCHES_A_STAGE * len(scores["rows"])), 6.0)
        accuracy, log_loss = figure.subplots(2, 1, sharex=True)
        _draw(accuracy, scores, "accuracy")
        _draw(log_loss, scores, "log_loss")
        accuracy.set_title("Accuracy on held-out training images, higher is better")
        log_loss.set_title("Log loss on the same images, lower is better")
        log_loss.set_ylabel("nats")
        show_percent(accuracy, x=False, y=True)
        stages = [clip_name(row["stage"], 28) for row in scores["rows"]]
        turned: dict[str, Any] = {"rotation": 45, "ha": "right"} if max(map(len, stages)) > 6 else {}
        log_loss.set_xticks(range(len(stages)), stages, **turned)
        log_loss.set_xlabel("cut after (shallow to deep)")
        deciding = accuracy if scores["metric"] == "accuracy" else log_loss
        handles, labels = deciding.get_legend_handles_labels()
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
    if metric == "log_loss":
        _keep_readable(axes, scores)


def _keep_readable(axes: Axes, scores: Mapping[str, Any]) -> None:
    """Cut off intervals that would press all dots together: one group far out can make a loss many times as large."""
    estimates = [row[kind]["log_loss"] for row in scores["rows"] for kind in _STYLES]
    top = 1.1 * max(estimate["value"] for estimate in estimates)
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, max(top, 0.1)))
