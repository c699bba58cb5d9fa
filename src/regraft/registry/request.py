"""What goes into a model registry: a model, what it predicted, and what was decided about it.

Knows plain values only: no registry, no file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class RegistrationRequest:
    """One model to be registered.

    Attributes:
        registration: The decision: `aliases` (a list of `challenger`, `champion`), and its reasons.
        classifier_bytes: The classifier's file.
        predictions: Of the chosen model on `val` and `test`, a row an image, with its `sha256`: what a later
            challenger is compared with.
        model_card: Markdown.
        input_example: One encoded image (PNG, JPEG, …).
        metrics: The chosen model's final numbers, nested at will.
        images: All images it was made of, val and test included: `receipt.IMAGE_COLUMNS`.
        weights: What the backbone began with: name, source, sha256, licence.
        targets: What it tells where that is more than one label, as `describe_targets` describes it.
    """

    registration: Mapping[str, Any]
    classifier_bytes: bytes
    predictions: pd.DataFrame
    model_card: str
    input_example: bytes
    metrics: Mapping[str, Any]
    images: pd.DataFrame
    weights: Mapping[str, str]
    targets: Sequence[Mapping[str, Any]] = ()
