"""Figures of the scores: intervals and differences, calibration.

Knows metrics as `measure` gives them, and arrays: no table of predictions, no image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from regraft.evaluation.figure_style import (
    BASELINE_COLOUR,
    GUIDE_COLOUR,
    MODEL_COLOURS,
    MODEL_MARKERS,
    new_figure,
    show_percent,
)
from regraft.evaluation.metrics import (
    CALIBRATION_BINS,
    METRICS,
    FloatArray,
    IntArray,
    confidence_bins,
    predicted_labels,
)
from regraft.evaluation.predictions import BASELINE_TITLES, MODEL_TITLES, MODELS

_HIGHER = "higher is better"


def scores_figure(metrics: Mapping[str, Any]) -> Figure:
    """Every metric on test with its interval, baselines beside the accuracy, and the paired differences."""
    figure = new_figure(9.6, 5.4)
    blocks = [
        ([name for name, row in METRICS.items() if row.is_fraction and row.higher_is_better], _HIGHER),
        ([name for name, row in METRICS.items() if not row.higher_is_better], "lower is better"),
    ]
    panels = figure.subplots(
        2, 2, width_ratios=[2.1, 1], height_ratios=[len(names) + 0.5 for names, _ in blocks], squeeze=False
    )
    for (names, direction), (scores, difference) in zip(blocks, panels, strict=True):
        _draw_scores(scores, names, metrics)
        _draw_differences(difference, names, metrics)
        scores.set_title(f"Test score, {direction}")
        difference.set_title("Fine-tuned minus probe")
        for axes in (scores, difference):
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.grid(visible=False, axis="y")
            axes.spines["left"].set_visible(False)
        _widen(scores, 0.05)
        _widen(difference, 2.0 if direction == _HIGHER else 0.02)
        scores.set_yticks(range(len(names)), [METRICS[name].title for name in names])
        difference.set_yticks([])
    show_percent(panels[0][0], x=True, y=False)
    panels[0][1].set_xlabel("percentage points")
    handles, labels = panels[0][0].get_legend_handles_labels()
    hollow: dict[str, Any] = {
        "marker": "s",
        "color": BASELINE_COLOUR,
        "markerfacecolor": "white",
        "linestyle": "none",
    }
    handles.append(Line2D([], [], **hollow))
    labels.append("difference may be chance")
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _widen(axes: Axes, span: float) -> None:
    """Keep the horizontal axis from showing less than a span, where all values are nearly equal."""
    low, high = axes.get_xlim()
    if high - low < span:
        axes.set_xlim((low + high - span) / 2, (low + high + span) / 2)


def _draw_scores(axes: Axes, names: Sequence[str], metrics: Mapping[str, Any]) -> None:
    """A dot and whiskers a metric and model; the baselines below them in the row of the accuracy."""
    offsets = {"probe": -0.14, "fine_tuned": 0.14}
    for model in MODELS:
        rows = [(row, metrics["test"][model][name]) for row, name in enumerate(names)]
        dots = [(row + offsets[model], estimate) for row, estimate in rows if estimate["value"] is not None]
        style = {"marker": MODEL_MARKERS[model], "color": MODEL_COLOURS[model]}
        draw_dots(axes, dots, MODEL_TITLES[model], style)
    if "accuracy" in names:
        row = names.index("accuracy")
        places = zip(BASELINE_TITLES.items(), "v^<", (-0.14, 0.14, 0.0), strict=True)
        for (name, title), marker, offset in places:
            estimate = metrics["baselines"][name]["accuracy"]
            dots = [] if estimate["value"] is None else [(row + offset, estimate)]
            draw_dots(axes, dots, title, {"marker": marker, "color": BASELINE_COLOUR})


def draw_dots(
    axes: Axes, dots: Sequence[tuple[float, Mapping[str, Any]]], title: str, style: Mapping[str, Any]
) -> None:
    """Values at heights, with their intervals where they have one."""
    if not dots:
        return
    for height, estimate in dots:
        if estimate["low"] is not None:
            axes.plot([estimate["low"], estimate["high"]], [height] * 2, color=style["color"], linewidth=1.6)
    values = [estimate["value"] for _, estimate in dots]
    axes.plot(values, [height for height, _ in dots], linestyle="none", markersize=6, label=title, **style)


def _draw_differences(axes: Axes, names: Sequence[str], metrics: Mapping[str, Any]) -> None:
    """The paired difference with its interval; hollow where the interval holds 0: it may be chance."""
    axes.axvline(0, color=GUIDE_COLOUR, linewidth=1.2)
    scale = 100 if METRICS[names[0]].is_fraction and METRICS[names[0]].higher_is_better else 1
    for row, name in enumerate(names):
        draw_difference(axes, row, metrics["test"]["difference"][name], scale=scale)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def draw_difference(axes: Axes, height: float, estimate: Mapping[str, Any], *, scale: float) -> None:
    """One of them, times a scale; nothing where it has no interval."""
    if estimate["value"] is None or estimate["low"] is None:
        return
    low, value, high = (scale * estimate[key] for key in ("low", "value", "high"))
    face = "white" if low <= 0 <= high else BASELINE_COLOUR
    axes.plot([low, high], [height, height], color=BASELINE_COLOUR, linewidth=1.6)
    axes.plot(value, height, marker="s", markersize=6, color=BASELINE_COLOUR, markerfacecolor=face)


def calibration_figure(
    probabilities: Mapping[str, FloatArray],
    labels: IntArray,
    errors: Mapping[str, Mapping[str, float | None]],
) -> Figure:
    """Accuracy against confidence in bins, above how many images have which confidence."""
    figure = new_figure(5.6, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    draw_reliability(upper, probabilities, labels, errors)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    for model, of_model in probabilities.items():
        counts = np.bincount(confidence_bins(of_model, num_bins=CALIBRATION_BINS), minlength=CALIBRATION_BINS)
        lower.stairs(counts, edges, color=MODEL_COLOURS[model], linewidth=1.6)
    lower.set_ylabel("images")
    lower.set_xlabel("confidence: probability of the predicted class")
    lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    show_percent(lower, x=True, y=False)
    upper.set_title("How far the confidence can be believed, on test")
    return figure


def draw_reliability(
    axes: Axes,
    probabilities: Mapping[str, FloatArray],
    labels: IntArray,
    errors: Mapping[str, Mapping[str, float | None]],
) -> None:
    """Accuracy against confidence in bins, the larger the dot the more images; with a legend."""
    axes.plot(
        [0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=(0, (4, 3)), linewidth=1.2, label="perfectly calibrated"
    )
    for model, of_model in probabilities.items():
        bins = confidence_bins(of_model, num_bins=CALIBRATION_BINS)
        counts = np.bincount(bins, minlength=CALIBRATION_BINS)
        used = np.flatnonzero(counts)
        is_right = predicted_labels(of_model) == labels
        confidence = np.bincount(bins, of_model.max(axis=1), CALIBRATION_BINS)[used] / counts[used]
        accuracy = np.bincount(bins, is_right, CALIBRATION_BINS)[used] / counts[used]
        colour, marker = MODEL_COLOURS[model], MODEL_MARKERS[model]
        value = errors[model]["value"]
        title = MODEL_TITLES[model] + ("" if value is None else f", mean gap {100 * value:.1f} points")
        axes.plot(confidence, accuracy, color=colour, linewidth=1.2, alpha=0.6)
        sizes = 14 + 130 * counts[used] / counts.max()
        axes.scatter(confidence, accuracy, s=sizes, color=colour, marker=marker, label=title, linewidths=0)
    axes.set_ylabel("accuracy")
    num_classes = next(iter(probabilities.values())).shape[1]
    start = max(0.0, np.floor(CALIBRATION_BINS / num_classes) / CALIBRATION_BINS)
    axes.set(xlim=(start - 0.02, 1.02), ylim=(-0.02, 1.05))
    show_percent(axes, x=True, y=True)
    dots: list[Any] = axes.legend(loc="lower right").legend_handles[1:]
    for dot in dots:
        dot.set_sizes([34])
