"""The start without pretraining: the same network and head with random weights, for the baseline.

Knows architectures, nothing of how they are trained.
"""

import copy

import torch
from torch import nn

from regraft.backbones.backbone import build_backbone
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.classifier.classifier import Classifier
from regraft.heads.layers import KernelLayers
from regraft.training.reproducibility import generator_for


def from_scratch(probe: Classifier, *, seed: int) -> Classifier:
    """The probe's network with its library's own initialisation, and a head whose last layer is zero.

    So every class is equally likely at first, and the first update is the head's alone.

    Args:
        probe: Gives architecture, cut and all that is not learnt; not changed.
        seed: Of the random weights.

    Raises:
        ValueError: If the head is a kernel's: nearness to features of the pretrained network means nothing then.
    """
    if isinstance(probe.layers, KernelLayers):
        raise ValueError(
            "fine_tune.start is 'scratch', but a kernel head measures nearness in features of the pretrained network: "
            "set train_head.head.kind to linear or mlp"
        )
    start, spec = copy.deepcopy(probe), probe.backbone.spec
    weights, receipt = load_weights(spec, RandomWeights(kind="random", seed=seed))
    start.backbone = build_backbone(
        spec.name, weights=weights, cut=probe.backbone.cut, receipt=receipt, pooling=probe.backbone.pooling
    )
    linear = [layer for layer in start.head if isinstance(layer, nn.Linear)]
    generator = generator_for(seed, "head from scratch")
    with torch.no_grad():
        for layer in linear:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        linear[-1].weight.zero_()
    return start.requires_grad_(False)
