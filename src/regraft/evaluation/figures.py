"""All figures of an evaluation, by name.

Knows what the single figures need and takes it from the tables: how they are drawn is theirs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.class_figures import confusion_figure, recall_figure, roc_figure
from regraft.evaluation.figure_style import house_style
from regraft.evaluation.mistakes import mistakes_figure, most_confident_mistakes
from regraft.evaluation.predictions import scores_of_split
from regraft.evaluation.score_figures import calibration_figure, scores_figure
from regraft.evaluation.several.figures import make_several_figures
from regraft.evaluation.training_figure import History, training_figure

_NUM_MISTAKES = 18


def make_figures(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    *,
    head_history: History,
    fine_tune_history: History,
    pixels: NDArray[np.uint8],
) -> dict[str, Figure]:
    """Draw what `measure` has measured, or `measure_several`; see `make_several_figures`.

    Args:
        predictions: The table that was measured.
        metrics: What `measure` gave for it.
        head_history: See `training_figure`.
        fine_tune_history: See `training_figure`.
        pixels: `(N, H, W, 3 or 1)` uint8, row i the image with id i; may be memory-mapped, for only the images
            shown are read.

    Returns:
        Figures in the order to read them: `scores`, `confusion_matrix`, `roc` (two classes) or `recall`
        (more), `calibration`, `training`, `mistakes`.
    """
    if metrics.get("targets"):
        return make_several_figures(
            predictions,
            metrics,
            head_history=head_history,
            fine_tune_history=fine_tune_history,
            pixels=pixels,
        )
    label_names: Sequence[str] = metrics["label_names"]
    test = scores_of_split(predictions, "test", label_names)
    of_metric = {
        name: {model: metrics["test"][model][name] for model in test.probabilities}
        for name in ("roc_auc", "expected_calibration_error")
    }
    mistakes = most_confident_mistakes(predictions, label_names, model="fine_tuned", limit=_NUM_MISTAKES)
    with house_style():
        return {
            "scores": scores_figure(metrics),
            "confusion_matrix": confusion_figure(metrics["confusion_matrix"], label_names),
            **(
                {"roc": roc_figure(test.probabilities, test.labels, label_names, of_metric["roc_auc"])}
                if len(label_names) == 2
                else {"recall": recall_figure(metrics["per_class"])}
            ),
            "calibration": calibration_figure(
                test.probabilities, test.labels, of_metric["expected_calibration_error"]
            ),
            "training": training_figure(head_history, fine_tune_history),
            "mistakes": mistakes_figure(mistakes, pixels[mistakes["id"].to_numpy()]),
        }
