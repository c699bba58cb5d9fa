"""Figures of the classes: confusion, ROC, recall by class.

Knows metrics as `measure` gives them, and arrays: no table of predictions, no image.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from sklearn.metrics import roc_curve

from regraft.evaluation.figure_style import (
    GUIDE_COLOUR,
    MODEL_COLOURS,
    clip_name,
    new_figure,
    percent,
    show_percent,
)
from regraft.evaluation.metrics import (
    FloatArray,
    IntArray,
    predicted_labels,
)
from regraft.evaluation.predictions import MODEL_TITLES, MODELS

_MAX_NAMED_CELLS = 12  # a confusion matrix with more classes has no room for numbers
_MAX_NAMED_TICKS = 40
_MAX_BARS = 30


def confusion_figure(matrices: Mapping[str, Sequence[Sequence[int]]], label_names: Sequence[str]) -> Figure:
    """Both models' confusion matrices side by side, coloured by the fraction of the label's images."""
    num_classes = len(label_names)
    side = float(np.clip(1.6 + 0.42 * num_classes, 2.7, 5.2))
    figure = new_figure(2 * side + 1.6, side + 0.7)
    panels = figure.subplots(1, 2, sharey=True)
    names = [clip_name(name, 20) for name in label_names]
    for axes, model in zip(panels, MODELS, strict=True):
        image = draw_confusion(axes, np.array(matrices[model]), names)
        axes.set_title(MODEL_TITLES[model].capitalize())
    panels[0].set_ylabel("label")
    bar = figure.colorbar(image, ax=panels, shrink=0.8, aspect=22)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(lambda value, _: percent(value, 0))
    bar.set_label("of the label's images")
    return figure


def draw_confusion(axes: Axes, counts: IntArray, names: Sequence[str]) -> AxesImage:
    """A `(K, K)` confusion matrix, coloured by the fraction of the label's images; names and counts where they fit."""
    num_classes = len(counts)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if num_classes <= _MAX_NAMED_TICKS:
        is_short = num_classes <= 4 and max(map(len, names)) <= 12
        axes.set_xticks(range(num_classes), names, **({} if is_short else _SLANTED))
        axes.set_yticks(range(num_classes), names)
    if num_classes <= _MAX_NAMED_CELLS:
        _write_cells(axes, counts, fractions)
    return image


_SLANTED: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}


def _write_cells(axes: Axes, counts: IntArray, fractions: FloatArray) -> None:
    """The count in each cell, with its percentage where there is room."""
    is_roomy = len(counts) <= 5
    for row, column in np.ndindex(counts.shape):
        text = str(counts[row, column])
        if is_roomy:
            text += f"\n{percent(float(fractions[row, column]))}"
        colour = "white" if fractions[row, column] > 0.55 else "#23272e"
        size = 10 if is_roomy else 7.5
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def roc_figure(
    probabilities: Mapping[str, FloatArray],
    labels: IntArray,
    label_names: Sequence[str],
    areas: Mapping[str, Mapping[str, float | None]],
) -> Figure:
    """Both models' ROC curves of the second class; a ring marks what is predicted, at probability 0.5."""
    figure = new_figure(5.6, 5.0)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GUIDE_COLOUR, linestyle=(0, (4, 3)), linewidth=1.2, label="chance")
    for model, of_model in probabilities.items():
        if len(np.unique(labels)) < 2:
            continue
        false_positive, true_positive, _ = roc_curve(labels, of_model[:, 1], drop_intermediate=False)
        title = f"{MODEL_TITLES[model]}, area {_with_interval(areas[model])}"
        axes.plot(false_positive, true_positive, color=MODEL_COLOURS[model], linewidth=1.8, label=title)
        called = predicted_labels(of_model) == 1
        point = called[labels == 0].mean(), called[labels == 1].mean()
        axes.plot(
            *point, "o", markersize=9, markerfacecolor="none", markeredgewidth=1.8, color=MODEL_COLOURS[model]
        )
    negative, positive = (clip_name(name, 24) for name in label_names)
    axes.set_xlabel(f"{negative} called {positive} (false positive rate)")
    axes.set_ylabel(f"{positive} called {positive} (true positive rate)")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    show_percent(axes, x=True, y=True)
    axes.set_title(f"Finding {positive} on test")
    axes.legend(loc="lower right")
    return figure


def _with_interval(estimate: Mapping[str, float | None]) -> str:
    """`0.947 (0.928 to 0.963)`, or what there is of it."""
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if value is None:
        return "not defined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def recall_figure(per_class: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Recall of each class with both models, the worst of the fine-tuned model first."""
    tables = {model: {row["label_name"]: row for row in rows} for model, rows in per_class.items()}
    tested = [row for row in per_class["fine_tuned"] if row["recall"] is not None]
    rows = sorted(tested, key=lambda row: (row["recall"], row["label_name"]))[:_MAX_BARS]
    figure = new_figure(7.6, 1.5 + 0.34 * max(len(rows), 3))
    axes = figure.subplots()
    recalls = {model: [tables[model][row["label_name"]]["recall"] for row in rows] for model in MODELS}
    draw_bars(axes, recalls, [f"{clip_name(row['label_name'], 28)} ({row['support']})" for row in rows])
    axes.set_xlim(0, 1)
    show_percent(axes, x=True, y=False)
    axes.set_xlabel("recall: images of the class that are recognised")
    shown = "" if len(rows) == len(tested) else f", the lowest {len(rows)} of {len(tested)}"
    axes.set_title(f"Recall by class on test (number of images){shown}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def draw_bars(axes: Axes, values: Mapping[str, Sequence[float]], names: Sequence[str]) -> None:
    """Both models' values, a pair of bars a name, the first on top."""
    for model, offset in zip(MODELS, (-0.19, 0.19), strict=True):
        heights = np.arange(len(names)) + offset
        axes.barh(heights, values[model], height=0.34, color=MODEL_COLOURS[model], label=MODEL_TITLES[model])
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
