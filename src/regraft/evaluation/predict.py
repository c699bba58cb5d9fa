"""Run the models to be compared over the images that were not trained on.

Knows no metric: rows of probabilities go out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.classifier.classifier import Classifier, predict_together, shared_stage
from regraft.evaluation.predictions import probability_columns
from regraft.evaluation.several.answers import answers_table
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
    targets: Sequence[Mapping[str, Any]] = (),
) -> pd.DataFrame:
    """Predictions of every model for every image of val and test.

    Args:
        models: By the name the rows will carry.
        pixels: `(N, S, S, 3 or 1)` uint8, manifest order.
        manifest: N rows.
        batch_size: Images a forward pass.
        compute: Device and streams; always float32, as the model is served.
        targets: What is learnt where it is more than one label, as `describe_targets` describes it.

    Returns:
        A row a model and image, models in the order given, images in manifest order: the manifest's columns that
        name the image, `model`, `predicted`, `predicted_name`, and a probability column a label; of several targets
        the columns of `answers_table`.
    """
    rows = np.flatnonzero(manifest["split"].isin(_SPLITS))
    images = manifest.iloc[rows][list(_COLUMNS)].reset_index(drop=True)
    classifiers = [classifier.for_inference().to(compute.device) for classifier in models.values()]
    shared = shared_stage(classifiers)
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    parts: list[list[NDArray[np.float64]]] = []
    for part in map_streams(
        lambda batch: predict_together(classifiers, pixels[batch], shared=shared), batches, compute=compute
    ):
        parts.append(part)
        report_progress("predicting", min(len(parts) * batch_size, len(rows)), len(rows))
    tables = []
    for (name, classifier), of_model in zip(models.items(), zip(*parts, strict=True), strict=True):
        probabilities = np.concatenate(of_model)
        if targets:
            answers = answers_table(probabilities, manifest.iloc[rows], targets)
            tables.append(pd.concat([images.assign(model=name), answers], axis=1))
            continue
        predicted = probabilities.argmax(axis=1)
        table = images.assign(
            model=name,
            predicted=predicted,
            predicted_name=[classifier.label_names[number] for number in predicted],
        )
        columns = probability_columns(classifier.label_names)
        tables.append(pd.concat([table, pd.DataFrame(probabilities, columns=columns)], axis=1))
    return pd.concat(tables, ignore_index=True)
