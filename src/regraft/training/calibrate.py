"""Takes from a fine-tuned classifier what it is too sure of itself: its logits are divided by a temperature.

Knows how a classifier says what it does of images at the freeze border, not how it was trained.
"""

import torch
from torch import nn

from regraft.classifier.classifier import Classifier
from regraft.training.measuring import predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.scoring import fit_temperature
from regraft.training.tuning_loop import Examples


def calibrate(
    classifier: Classifier, first_stage: str | None, val: Examples, *, batch_size: int, compute: Compute
) -> float:
    """Divide the weights and the bias of the last layer by the temperature that `val` asks for.

    So it is a classifier like any other; which class is the likeliest does not change.

    Args:
        classifier: Changed in place.
        first_stage: The first that `val` has not been through; None where only the head has not.
        val: As that stage sees it.
        batch_size: Images a forward pass.
        compute: Device, precision, streams.

    Returns:
        The temperature, at least 1; see `fit_temperature`.
    """
    probabilities = predict_examples(
        classifier, first_stage, val.inputs, len(val.labels), batch_size=batch_size, compute=compute
    )
    temperature = fit_temperature(probabilities, val.labels, val.shares.weights)
    last = [layer for layer in classifier.head if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.div_(temperature)
        last.bias.div_(temperature)
    return temperature
