"""Figures of the answers to several targets: what was said against what is true, by part, and how sure it is.

Knows what is true and said as arrays, and metrics as `measure_several` gives them: no table, no image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from regraft.evaluation.class_figures import draw_bars, draw_confusion
from regraft.evaluation.figure_style import (
    GUIDE_COLOUR,
    MODEL_COLOURS,
    clip_name,
    new_figure,
    short_number,
    show_percent,
)
from regraft.evaluation.predictions import MODEL_TITLES, MODELS
from regraft.evaluation.score_figures import draw_reliability
from regraft.evaluation.several.answers import SeveralScores
from regraft.training.target_answers import Floats, Target, point_distances

_MAX_BARS = 16  # of one target
_NUM_PARTS = 4  # of a number's true values
_NUM_BINS = 30  # of errors
_PANEL_INCHES = 4.2


def answers_figure(scores: SeveralScores, targets: Sequence[Target], metrics: Mapping[str, Any]) -> Figure:
    """A row a target, a column a model: a confusion matrix, numbers against the diagonal, or a mean shape."""
    figure = new_figure(2 * _PANEL_INCHES + 0.8, _PANEL_INCHES * len(targets))
    panels = figure.subplots(len(targets), 2, squeeze=False)
    for target, row in zip(targets, panels, strict=True):
        name = target["name"]
        for axes, model in zip(row, MODELS, strict=True):
            if target["kind"] == "classes":
                counts = np.array(metrics["confusion_matrix"][name][model])
                draw_confusion(axes, counts, [clip_name(label, 16) for label in target["label_names"]])
                axes.set_ylabel("label")
            elif target["kind"] == "number":
                _draw_numbers(axes, scores.true[name], scores.said[model][name], MODEL_COLOURS[model])
            else:
                _draw_shape(axes, scores.true[name], scores.said[model][name], MODEL_COLOURS[model])
            axes.set_title(f"{clip_name(name, 30)}, {MODEL_TITLES[model]}")
        if target["kind"] == "number":
            _show_diagonal(row)
        if target["kind"] == "points":
            _show_image_plane(row)
    return figure


def _show_diagonal(panels: Sequence[Axes]) -> None:
    """The same square of all panels, from corner to corner a dashed line, on which what was said is true."""
    low, high = _reach(panels)
    middle = float(low.min() + high.max()) / 2
    _show_square(panels, np.full(2, low.min()), np.full(2, high.max()))
    for axes in panels:
        axes.axline((middle, middle), slope=1, color=GUIDE_COLOUR, linestyle=(0, (4, 3)), linewidth=1.2)


def _show_image_plane(panels: Sequence[Axes]) -> None:
    """The same square of all panels, y growing downward."""
    _show_square(panels, *_reach(panels))
    for axes in panels:
        axes.invert_yaxis()


def _reach(panels: Sequence[Axes]) -> tuple[Floats, Floats]:
    """The lowest and the highest x and y of all that is drawn."""
    corners = np.array([axes.dataLim.get_points() for axes in panels])
    return corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)


def _show_square(panels: Sequence[Axes], low: Floats, high: Floats) -> None:
    centre, half = (low + high) / 2, 0.54 * float((high - low).max()) or 0.5
    for axes in panels:
        axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
        axes.set_aspect("equal")


def _draw_numbers(axes: Axes, true: Floats, said: Floats, colour: str) -> None:
    """A dot an image."""
    axes.scatter(true, said, s=10, color=colour, alpha=0.45, linewidths=0)
    axes.set(xlabel="true", ylabel="said")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))


def _draw_shape(axes: Axes, true: Floats, said: Floats, colour: str) -> None:
    """Where each point is on the average, in a circle as wide as it is missed on the average."""
    shape, missed = true.mean(axis=0), point_distances(true, said).mean(axis=0)
    for centre, radius in zip(shape, missed, strict=True):
        axes.add_patch(Circle(tuple(centre), radius, color=colour, alpha=0.3, linewidth=0))
    axes.plot(*shape.T, linestyle="none", marker="o", markersize=3, color=colour)
    axes.set(xlabel="of the image's width", ylabel="of the image's height")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    show_percent(axes, x=True, y=True)


def parts_figure(scores: SeveralScores, targets: Sequence[Target], metrics: Mapping[str, Any]) -> Figure:
    """A row a target: recall by class, error by quarter of the true number, distance by point; both models."""
    parts = [_parts(target, scores, metrics) for target in targets]
    heights = [0.95 + 0.34 * max(len(names), 2) for _, names, _, _ in parts]
    figure = new_figure(7.6, sum(heights) + 0.4)
    panels = figure.subplots(len(parts), 1, height_ratios=heights, squeeze=False).ravel()
    for axes, (title, names, values, is_fraction) in zip(panels, parts, strict=True):
        draw_bars(axes, values, names)
        axes.set_xlim(left=0)
        axes.set_title(title)
        if is_fraction:
            show_percent(axes, x=True, y=False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


_Parts = tuple[str, list[str], dict[str, list[float]], bool]


def _parts(target: Target, scores: SeveralScores, metrics: Mapping[str, Any]) -> _Parts:
    """Title, names of the parts, the value of each by model, and whether it is a fraction."""
    name = target["name"]
    title, true = clip_name(name, 30), scores.true[target["name"]]
    if target["kind"] == "classes":
        tables = [metrics["per_class"][name][model] for model in MODELS]
        rows = [of_class for of_class in zip(*tables, strict=True) if of_class[1]["recall"] is not None]
        rows = sorted(rows, key=lambda row: (row[1]["recall"], row[1]["label_name"]))[:_MAX_BARS]
        names = [f"{clip_name(row[0]['label_name'], 28)} ({row[0]['support']})" for row in rows]
        values = {model: [row[place]["recall"] for row in rows] for place, model in enumerate(MODELS)}
        return f"{title}: recall by class (number of images)", names, values, True
    if target["kind"] == "number":
        groups = [rows for rows in np.array_split(np.argsort(true, kind="stable"), _NUM_PARTS) if len(rows)]
        names = [
            f"{short_number(true[rows[0]])} to {short_number(true[rows[-1]])} ({len(rows)})"
            for rows in groups
        ]
        errors = {model: np.abs(scores.said[model][name] - true) for model in MODELS}
        values = {model: [float(errors[model][rows].mean()) for rows in groups] for model in MODELS}
        return f"{title}: mean absolute error by true value (number of images)", names, values, False
    missed = {model: point_distances(true, scores.said[model][name]).mean(axis=0) for model in MODELS}
    worst = np.argsort(-missed["fine_tuned"], kind="stable")[:_MAX_BARS]
    values = {model: missed[model][worst].tolist() for model in MODELS}
    return f"{title}: mean distance by point", [f"point {point}" for point in worst], values, True


def sureness_figure(scores: SeveralScores, targets: Sequence[Target], metrics: Mapping[str, Any]) -> Figure:
    """A panel a target: how far the confidence in a class can be believed, or how errors are spread."""
    num_rows = -(-len(targets) // 2)
    figure = new_figure(9.6, 3.9 * num_rows)
    panels = figure.subplots(num_rows, 2, squeeze=False).ravel()
    for axes, target in zip(panels, targets, strict=False):
        name = target["name"]
        said = {model: scores.said[model][name] for model in MODELS}
        if target["kind"] == "classes":
            metric = f"{name}.expected_calibration_error"
            errors = {model: metrics["test"][model][metric] for model in MODELS}
            draw_reliability(axes, said, scores.true[name], errors)
            axes.set_xlabel("confidence: probability of the predicted class")
            axes.set_title(f"{clip_name(name, 30)}: how far to believe it")
        else:
            _draw_errors(axes, target, scores.true[name], said)
    for axes in panels[len(targets) :]:
        axes.set_axis_off()
    return figure


def _draw_errors(axes: Axes, target: Target, true: NDArray[Any], said: Mapping[str, Floats]) -> None:
    """Images by error: said minus true of a number, the mean distance of an image's points."""
    is_number = target["kind"] == "number"
    errors = {
        model: of_model - true if is_number else point_distances(true, of_model).mean(axis=1)
        for model, of_model in said.items()
    }
    edges = np.histogram_bin_edges(np.concatenate(list(errors.values())), _NUM_BINS)
    for model, of_model in errors.items():
        counts = np.histogram(of_model, edges)[0]
        axes.stairs(counts, edges, color=MODEL_COLOURS[model], linewidth=1.6, label=MODEL_TITLES[model])
    if is_number:
        axes.axvline(0, color=GUIDE_COLOUR, linewidth=1.2)
    else:
        show_percent(axes, x=True, y=False)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylabel("images")
    axes.set_xlabel("said minus true" if is_number else "mean distance, of the image's side")
    axes.set_title(f"{clip_name(target['name'], 30)}: how errors are spread")
    axes.legend()
