"""The picture of a comparison: what models score against cost, and which differences are real.

Knows what `compare_models` gives: no prediction, no file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from regraft.comparing.shown import compared_by, metric_words, target_metrics
from regraft.evaluation.figure_style import (
    BASELINE_COLOUR,
    GUIDE_COLOUR,
    MODEL_COLOURS,
    MODEL_MARKERS,
    clip_name,
    house_style,
    new_figure,
    show_percent,
)
from regraft.evaluation.predictions import MODEL_TITLES
from regraft.evaluation.several.scores import MAX_SHOWN, facts_of

_MAX_LETTERS = 24
_PANEL_INCHES = 3.6


def comparison_figure(comparison: Mapping[str, Any]) -> Figure:
    """What models score on test against the cost of predicting an image; beside it each one's difference to the chosen.

    Of several targets that is the joint loss, with a panel below for each target's own metric, of the first ones.
    """
    models, metric = comparison["models"], compared_by(comparison)
    metrics = target_metrics(comparison)[:MAX_SHOWN]
    height, below = max(4.2, 2.4 + 0.42 * len(models)), _PANEL_INCHES * -(-len(metrics) // 2)
    with house_style():
        figure = new_figure(11.0, height + below)
        upper: FigureBase = figure
        if metrics:
            upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[height, below]).ravel()
            _draw_targets(lower, models, metrics)
        cost, difference = upper.subplots(1, 2, width_ratios=[1.25, 1])
        _draw_cost(cost, models, metric)
        cost.set_title(f"Test {metric_words(metric)} against the time of an image")
        _draw_differences(difference, models, metric, comparison["confidence"])
        variants = dict.fromkeys(variant for row in models for variant in row["test"])
        handles = [
            Line2D(
                [], [], marker=MODEL_MARKERS[name], color=MODEL_COLOURS[name], linestyle="none", label=title
            )
            for name, title in MODEL_TITLES.items()
            if name in variants
        ]
        handles.append(
            Line2D(
                [],
                [],
                marker="s",
                color=BASELINE_COLOUR,
                markerfacecolor="white",
                linestyle="none",
                label="difference may be chance",
            )
        )
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_targets(figure: FigureBase, models: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
    """A panel a metric, two side by side."""
    panels = figure.subplots(-(-len(metrics) // 2), 2, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics, strict=False):
        _draw_cost(axes, models, metric)
        target, _, _ = metric.rpartition(".")
        arrow = "higher" if facts_of(metric).higher_is_better else "lower"
        words = metric_words(metric.removeprefix(f"{target}."))
        axes.set_title(f"{clip_name(target, _MAX_LETTERS)}: {words}, {arrow} is better")
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()


def _draw_cost(axes: Axes, models: Sequence[Mapping[str, Any]], metric: str) -> None:
    """A dot and its interval a model and variant, with the number that the panel of differences has beside its name."""
    axes.set_xscale("log")
    heights = [row["test"][row["variant"]][metric]["value"] for row in models]
    for number, (row, height) in enumerate(zip(models, heights, strict=True), start=1):
        milliseconds = 1000 / row["images_per_second"]
        points = []
        for variant, metrics in row["test"].items():
            estimate = metrics[metric]
            place = milliseconds * (1.02 if variant == "fine_tuned" else 1 / 1.02)
            points.append((place, estimate["value"]))
            is_best = variant == row["variant"]
            if estimate["low"] is not None:
                axes.plot(
                    [place, place],
                    [estimate["low"], estimate["high"]],
                    color=MODEL_COLOURS[variant],
                    linewidth=1.6 if is_best else 0.9,
                    alpha=1.0 if is_best else 0.45,
                    solid_capstyle="butt",
                )
            axes.plot(
                place,
                estimate["value"],
                marker=MODEL_MARKERS[variant],
                color=MODEL_COLOURS[variant],
                markersize=7.5 if is_best else 5.5,
                alpha=1.0 if is_best else 0.6,
            )
        axes.annotate(
            str(number),
            (milliseconds * 1.02, height),
            xytext=(7, -3),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
        )
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.15, high * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    places = [1000 / row["images_per_second"] for row in models]
    axes.set_xticks(_round_ticks(min(places), max(places)))
    axes.set_xlabel("milliseconds an image, as served on this machine")
    show_percent(axes, x=False, y=facts_of(metric).is_fraction)


def _round_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that span the values."""
    ticks = [factor * 10.0**power for power in range(-3, 6) for factor in (1, 2, 5)]
    below = max((tick for tick in ticks if tick <= low), default=ticks[0])
    above = min((tick for tick in ticks if tick >= high), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above]


def _draw_differences(
    axes: Axes, models: Sequence[Mapping[str, Any]], metric: str, confidence: float
) -> None:
    """A row a model: its score on test less that of the chosen one, with the corrected interval."""
    is_fraction = facts_of(metric).is_fraction
    scale, unit, least = (100, "points", 1.0) if is_fraction else (1, "nats", 0.01)
    axes.set_title("Minus the chosen model" + ("" if is_fraction else ", below 0 is better"))
    axes.axvline(0, color=GUIDE_COLOUR, linewidth=1.2)
    for height, row in enumerate(models):
        colour = MODEL_COLOURS[row["variant"]]
        if row["difference"] is None:
            axes.plot(0, height, marker="*", color=colour, markersize=12)
            continue
        found = row["difference"]
        axes.plot(
            [scale * found["low"], scale * found["high"]], [height, height], color=colour, linewidth=1.6
        )
        axes.plot(
            scale * found["value"],
            height,
            marker="s",
            color=colour,
            markerfacecolor=colour if found["is_clear"] else "white",
        )
    names = [clip_name(row["model"], _MAX_LETTERS) for row in models]
    axes.set_yticks(range(len(models)), [f"{name}  {number}" for number, name in enumerate(names, start=1)])
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -least), max(high, least))
    axes.set_xlabel(f"{unit} of test {metric_words(metric)}; {100 * confidence:g} % intervals, corrected")
