"""All figures of an evaluation of several targets, under the names that those of one label have.

Knows what the single figures need and takes it from the tables: how they are drawn is theirs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import house_style
from regraft.evaluation.several.answer_figures import answers_figure, parts_figure, sureness_figure
from regraft.evaluation.several.answers import take_apart
from regraft.evaluation.several.mistakes import mistakes_figure
from regraft.evaluation.several.score_figure import scores_figure
from regraft.evaluation.several.scores import MAX_SHOWN
from regraft.evaluation.training_figure import History, training_figure
from regraft.training.target_losses import image_losses

_NUM_MISTAKES = 15


def make_several_figures(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    head_history: History,
    fine_tune_history: History,
    pixels: NDArray[np.uint8],
) -> dict[str, Figure]:
    """Draw what `measure_several` has measured; arguments as those of `make_figures`.

    Returns:
        Figures in the order to read them: `scores`, `answers`, `parts`, `sureness`, `training`, `mistakes`. Of more
        than eight targets the first eight are drawn.
    """
    targets = metrics["targets"]
    shown = targets[:MAX_SHOWN]
    test = take_apart(predictions, "test", targets)
    losses = image_losses(test.true, test.said["fine_tuned"], targets, metrics["loss_units"])
    order = np.argsort(-sum(losses.values(), np.zeros(len(test.ids))), kind="stable")[:_NUM_MISTAKES]
    path_of_id = dict(zip(predictions["id"], predictions["path"], strict=True))
    ids = test.ids[order]
    with house_style():
        return {
            "scores": scores_figure(metrics, shown),
            "answers": answers_figure(test, shown, metrics),
            "parts": parts_figure(test, shown, metrics),
            "sureness": sureness_figure(test, shown, metrics),
            "training": training_figure(head_history, fine_tune_history),
            "mistakes": mistakes_figure(
                test, targets, order, paths=[path_of_id[number] for number in ids], pixels=pixels[ids]
            ),
        }
