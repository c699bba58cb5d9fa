"""What a classifier says of images at the freeze border.

Knows neither training nor where border activations come from.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regraft.backbones.backbone import Backbone
from regraft.classifier.classifier import Classifier, head_features
from regraft.training.border import BorderInputs
from regraft.training.reproducibility import Compute, map_streams


def logits_after(
    classifier: Classifier,
    backbone: Backbone,
    first_stage: str | None,
    inputs: BorderInputs,
    rows: NDArray[np.int64],
    views: NDArray[np.int64],
) -> Tensor:
    """Logits `(B, K)` or `(B, 1)` of some images from what the frozen stages before `first_stage` gave.

    Args:
        classifier: Its head is used.
        backbone: Its own, or another that computes the same.
        first_stage: The first to be run; None for none.
        inputs: What that stage takes, and what the head takes of stages before it.
        rows: Which images.
        views: In which of the views it is shown in, one an image; see `BorderInputs`.
    """
    names = [None, *backbone.stages]
    after = names[-1] if first_stage is None else names[names.index(first_stage) - 1]
    features = head_features(
        backbone,
        classifier.stages,
        inputs.batch(rows, views),
        after=after,
        pooled=inputs.pooled(rows, views),
    )
    logits: Tensor = classifier.head(features)
    return logits


def predict_examples(
    classifier: Classifier,
    first_stage: str | None,
    inputs: BorderInputs,
    num_images: int,
    *,
    batch_size: int,
    compute: Compute,
    backbone: Backbone | None = None,
) -> NDArray[np.float64]:
    """Probabilities `(N, K)` of all images, each as it is, order kept; by the classifier's own backbone, or another
    that computes the same."""

    def probabilities_of(start: int) -> Tensor:
        with torch.no_grad():
            rows = np.arange(start, min(start + batch_size, num_images))
            views = np.zeros_like(rows)
            logits = logits_after(
                classifier, backbone or classifier.backbone, first_stage, inputs, rows, views
            )
            return classifier.target.answers(logits).cpu()

    starts = range(0, num_images, batch_size)
    return torch.cat(list(map_streams(probabilities_of, starts, compute=compute))).numpy()
