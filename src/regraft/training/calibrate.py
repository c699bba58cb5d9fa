"""Takes from a fine-tuned classifier what it is too sure of itself: its logits are divided by a temperature.

Of several targets each that has classes gets a temperature of its own.

Knows how a classifier says what it does of images at the freeze border, not how it was trained.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.classifier.classifier import Classifier
from regraft.heads.numbers import NumbersTarget
from regraft.heads.several import AnyTarget, SeveralTargets
from regraft.training.measuring import predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.scoring import Floats, fit_temperature
from regraft.training.tuning_loop import Examples


def calibrate(
    classifier: Classifier, first_stage: str | None, val: Examples, *, batch_size: int, compute: Compute
) -> dict[str, float]:
    """Divide the weights and the bias of the last layer by the temperature that `val` asks for.

    So it is a classifier like any other; which class is the likeliest does not change.

    Args:
        classifier: Changed in place.
        first_stage: The first that `val` has not been through; None where only the head has not.
        val: As that stage sees it.
        batch_size: Images a forward pass.
        compute: Device, precision, streams.

    Returns:
        The temperature of each target of classes by its column, at least 1; see `fit_temperature`.
    """
    probabilities = predict_examples(
        classifier, first_stage, val.inputs, len(val.labels), batch_size=batch_size, compute=compute
    )
    last = [layer for layer in classifier.head if isinstance(layer, nn.Linear)][-1]
    temperatures = {}
    for column, of_outputs, of_target, labels in _classes(classifier.target, probabilities, val.labels):
        temperature = fit_temperature(of_target, labels, val.shares.weights)
        with torch.no_grad():
            last.weight[of_outputs].div_(temperature)
            last.bias[of_outputs].div_(temperature)
        temperatures[column] = temperature
    return temperatures


def _classes(
    target: AnyTarget, answers: Floats, labels: NDArray[Any]
) -> Iterator[tuple[str, slice, Floats, NDArray[np.int64]]]:
    """Of each target that has classes: its column, which outputs are its own, its probabilities and labels."""
    if not isinstance(target, SeveralTargets):
        yield target.column, slice(None), answers, labels
        return
    for member, of_outputs, of_labels, of_answers in target.parts():
        if not isinstance(member, NumbersTarget):
            yield (
                member.column,
                of_outputs,
                answers[:, of_answers],
                labels[:, of_labels.start].astype(np.int64),
            )
