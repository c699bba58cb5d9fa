"""The test images on which a model of several targets is most wrong, with what is true and what it says.

Knows what is true and said as arrays and pixels: no metric, no file.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import MODEL_COLOURS, clip_name, new_figure, percent, short_number
from regraft.evaluation.several.answers import SeveralScores
from regraft.images.preprocessing import as_rgb
from regraft.training.target_answers import Floats, Target, point_distances

_NUM_COLUMNS = 5
_MAX_TOLD = 3  # targets in a caption
_LINE = 30  # letters that a caption is wide
_MODEL = "fine_tuned"


def mistakes_figure(
    scores: SeveralScores,
    targets: Sequence[Target],
    rows: NDArray[np.int64],
    *,
    paths: Sequence[str],
    pixels: NDArray[np.uint8],
) -> Figure:
    """A sheet of images, points drawn where they are (rings) and where they are said to be (dots).

    Args:
        scores: Of test.
        targets: What was learnt; the first three are told in words.
        rows: `(M,)` of the scores, in the order to show them.
        paths: M paths of the images.
        pixels: `(M, H, W, 3 or 1)` uint8.
    """
    num_rows = max(1, -(-len(rows) // _NUM_COLUMNS))
    told = targets[:_MAX_TOLD]
    figure = new_figure(1.92 * _NUM_COLUMNS, (2.12 + 0.14 * len(told)) * num_rows + 0.3)
    has_points = any(target["kind"] == "points" for target in targets)
    drawn = "; rings are true points, dots what it says" if has_points else ""
    title = f"The test images that cost the fine-tuned model most{drawn}"
    figure.suptitle(title, fontweight="bold", fontsize=10.5)
    panels = figure.subplots(num_rows, _NUM_COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, row, path in zip(panels, as_rgb(pixels), rows, paths, strict=False):
        axes.imshow(image)
        for target in targets:
            if target["kind"] == "points":
                size = image.shape[1::-1]
                name = target["name"]
                _draw_points(axes, scores.true[name][row] * size, scores.said[_MODEL][name][row] * size)
        lines = [
            clip_name(PurePosixPath(path).name, _LINE),
            *(_told(target, scores, int(row)) for target in told),
        ]
        axes.set_title("\n".join(lines), fontsize=7.5, fontweight="normal", pad=4, linespacing=1.25)
    return figure


def _draw_points(axes: Axes, true: Floats, said: Floats) -> None:
    """In pixels, whose centres imshow has at whole numbers; points off the image widen it by nothing."""
    colour = MODEL_COLOURS[_MODEL]
    limits = axes.get_xlim(), axes.get_ylim()
    axes.plot(*(np.stack([true, said]) - 0.5).transpose(2, 0, 1), color=colour, linewidth=0.6)
    ring: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "markersize": 5}
    for edge, width in (("black", 1.8), ("white", 0.9)):  # one of them is seen on any picture
        axes.plot(*(true - 0.5).T, markeredgecolor=edge, markeredgewidth=width, **ring)
    axes.plot(*(said - 0.5).T, linestyle="none", marker="o", markersize=2.4, color=colour)
    axes.set(xlim=limits[0], ylim=limits[1])


def _told(target: Target, scores: SeveralScores, row: int) -> str:
    """`age: 34 → 51.2`."""
    name = target["name"]
    true, said = scores.true[name][row], scores.said[_MODEL][name][row]
    if target["kind"] == "classes":
        sure = f" {percent(float(said.max()), 0)}"
        labels = [target["label_names"][number] for number in (true, said.argmax())]
        room = max(4, (_LINE - len(f"{clip_name(name, 8)}:  → {sure}")) // 2)
        told = " → ".join(clip_name(label, room) for label in labels) + sure
    elif target["kind"] == "number":
        told = f"{short_number(true)} → {short_number(said)}"
    else:
        told = f"off by {percent(float(point_distances(true[None], said[None]).mean()))}"
    return f"{clip_name(name, 8)}: {told}"
