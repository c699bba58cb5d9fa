"""The mistakes a model is surest of: wrong labels, odd images, or something learnt wrongly.

Knows predictions as a table and pixels as an array: no metric, no file.
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import clip_name, new_figure, percent
from regraft.evaluation.predictions import MODEL_TITLES, probability_columns
from regraft.images.preprocessing import as_rgb

_NUM_COLUMNS = 6


def most_confident_mistakes(
    predictions: pd.DataFrame, label_names: Sequence[str], *, model: str, limit: int
) -> pd.DataFrame:
    """The test images that a model gets wrong with the highest probability.

    Args:
        predictions: A row an image and model.
        label_names: K names, in the order of the classes.
        model: `probe` or `fine_tuned`.
        limit: Rows at most.

    Returns:
        Rows of predictions with a column `confidence`, the surest first, of equals the lowest id.
    """
    rows = predictions[(predictions["split"] == "test") & (predictions["model"] == model)]
    wrong = rows[rows["predicted"] != rows["label"]]
    confidence = wrong[probability_columns(label_names)].max(axis=1)
    wrong = wrong.assign(confidence=confidence)
    return wrong.sort_values(["confidence", "id"], ascending=[False, True]).head(limit).reset_index(drop=True)


def mistakes_figure(mistakes: pd.DataFrame, pixels: NDArray[np.uint8]) -> Figure:
    """A sheet of them.

    Args:
        mistakes: As `most_confident_mistakes` gives them.
        pixels: `(M, H, W, 3)` uint8, or `(M, H, W, 1)` of grey images; an image a row of mistakes.
    """
    num_rows = max(1, -(-len(mistakes) // _NUM_COLUMNS))
    figure = new_figure(1.62 * _NUM_COLUMNS, 2.08 * num_rows + 0.3 if len(mistakes) else 1.2)
    if mistakes.empty:
        figure.suptitle("No mistakes on test", fontweight="bold")
        return figure
    title = MODEL_TITLES[mistakes["model"].iloc[0]]
    figure.suptitle(
        f"The mistakes on test that the {title} model is surest of", fontweight="bold", fontsize=10.5
    )
    panels = figure.subplots(num_rows, _NUM_COLUMNS, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image, row in zip(panels, as_rgb(pixels), mistakes.to_dict("records"), strict=False):
        axes.imshow(image)
        lines = [
            clip_name(PurePosixPath(str(row["path"])).name, 24),
            "label: " + clip_name(str(row["label_name"]), 17),
            "says: " + clip_name(str(row["predicted_name"]), 12) + f" {percent(row['confidence'], 0)}",
        ]
        axes.set_title("\n".join(lines), fontsize=7.5, fontweight="normal", pad=4, linespacing=1.25)
    return figure
