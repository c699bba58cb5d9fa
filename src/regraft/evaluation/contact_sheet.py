"""The contact sheet: images of each class, side by side, as the network will see them.

Knows the manifest and the pixels as arrays. Shows train alone: who looks at test, tunes on it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import clip_name, house_style, new_figure

_NUM_ROWS, _NUM_COLUMNS = 2, 10  # a class
_MAX_CLASSES: Final = 20
_TILE_INCHES: Final = 0.95


def contact_sheet(manifest: pd.DataFrame, label_names: Sequence[str], pixels: NDArray[np.uint8]) -> Figure:
    """Draw up to 20 training images of each of the first 20 classes.

    Args:
        manifest: Columns `label_name`, `split`, `sha256`; N rows.
        label_names: K names, in the order of the classes.
        pixels: `(N, S, S, 3 or 1)` uint8 in the order of the manifest; may be memory-mapped, only the images shown
            are read.

    Returns:
        A block a class. Which images: those with the smallest sha256, so any, and the same every time.
    """
    shown = list(label_names)[:_MAX_CLASSES]
    with house_style():
        figure = new_figure(_TILE_INCHES * _NUM_COLUMNS, (_TILE_INCHES * _NUM_ROWS + 0.35) * len(shown) + 0.3)
        more = f"; {len(label_names) - len(shown)} more classes" if len(label_names) > len(shown) else ""
        figure.suptitle(f"Training images of each class{more}", fontweight="bold", fontsize=10.5)
        for axes, name in zip(figure.subplots(len(shown), 1, squeeze=False).ravel(), shown, strict=True):
            chosen = np.flatnonzero((manifest["label_name"] == name) & (manifest["split"] == "train"))
            order = manifest["sha256"].iloc[chosen].argsort(kind="stable").to_numpy()
            rows = chosen[order][: _NUM_ROWS * _NUM_COLUMNS]
            axes.set_axis_off()
            axes.set_title(f"{clip_name(str(name), 60)} ({len(chosen):,} in train)", fontsize=8.5)
            axes.imshow(_mosaic(pixels, rows))
    return figure


def _mosaic(pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Images row by row on white, with a narrow gap."""
    side = pixels.shape[1]
    gap = max(1, side // 32)
    step = side + gap
    sheet = np.full((_NUM_ROWS * step - gap, _NUM_COLUMNS * step - gap, 3), 255, np.uint8)
    for place, row in enumerate(rows):
        top, left = (place // _NUM_COLUMNS) * step, (place % _NUM_COLUMNS) * step
        sheet[top : top + side, left : left + side] = pixels[row]
    return sheet
