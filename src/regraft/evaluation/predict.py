"""Run the models to be compared over the images that were not trained on.

Knows no metric: rows of probabilities go out.
"""

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.classifier.classifier import Classifier
from regraft.evaluation.predictions import probability_columns
from regraft.messages import report_progress
from regraft.training.reproducibility import Compute, map_streams

_SPLITS = ("val", "test")
_COLUMNS = ("id", "sha256", "path", "split", "label", "label_name", "group")


def predict_images(
    models: dict[str, Classifier],
    pixels: NDArray[np.uint8],
    manifest: pd.DataFrame,
    *,
    batch_size: int,
    compute: Compute,
) -> pd.DataFrame:
    """Predictions of every model for every image of val and test.

    Args:
        models: By the name the rows will carry.
        pixels: `(N, S, S, 3)` uint8, manifest order.
        manifest: N rows.
        batch_size: Images a forward pass.
        compute: Device and streams; always float32, as the model is served.

    Returns:
        A row a model and image, models in the order given, images in manifest order: the manifest's columns that
        name the image, `model`, `predicted`, `predicted_name`, and a probability column a label.
    """
    rows = np.flatnonzero(manifest["split"].isin(_SPLITS))
    images = manifest.iloc[rows][list(_COLUMNS)].reset_index(drop=True)
    total, done = len(models) * len(rows), 0
    tables = []
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    for name, model in models.items():
        classifier = model.to(compute.device)
        parts = []
        predict = partial(_predict_batch, classifier, pixels)
        for part in map_streams(predict, batches, compute=compute):
            parts.append(part)
            done += len(part)
            report_progress("predicting", done, total)
        probabilities = np.concatenate(parts)
        predicted = probabilities.argmax(axis=1)
        table = images.assign(
            model=name,
            predicted=predicted,
            predicted_name=[classifier.label_names[number] for number in predicted],
        )
        columns = probability_columns(classifier.label_names)
        tables.append(pd.concat([table, pd.DataFrame(probabilities, columns=columns)], axis=1))
    return pd.concat(tables, ignore_index=True)


def _predict_batch(
    classifier: Classifier, pixels: NDArray[np.uint8], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    return classifier.predict_pixels(pixels[rows])
