"""AdamW for fine-tuning: a rate a stage, no decay on biases and norms, warm-up then cosine.

Knows stages and their depth, nothing of data or losses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class OptimiserSettings:
    """How weights move.

    Attributes:
        learning_rate: Of the head, at the top of the schedule.
        layer_decay: Factor in (0, 1] from each stage to the one below it.
        weight_decay: AdamW's, on weights of two dimensions or more.
        warmup_fraction: Part of all steps in which the rate climbs from 0, in [0, 1).
        max_gradient_norm: Longer gradients are shortened to it.
    """

    learning_rate: float
    layer_decay: float
    weight_decay: float
    warmup_fraction: float
    max_gradient_norm: float


def build_optimiser(modules: Sequence[nn.Module], settings: OptimiserSettings) -> torch.optim.AdamW:
    """AdamW over modules given from the deepest stage up to the head (last).

    The head has the full rate, the stage below it the rate times `layer_decay`, and so on down. Modules without
    trainable parameters take no part, yet count as a step of depth.

    Source:
        Layer-wise decay as in Clark et al. 2020, arXiv:2003.10555, section 3.1; no decay on one-dimensional
        parameters as in He et al. 2019, arXiv:1812.01187, section 3.1.
    """
    groups = []
    for height, module in enumerate(reversed(modules)):
        rate = settings.learning_rate * settings.layer_decay**height
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for decay, members in (
            (settings.weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
            (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
        ):
            if members:
                groups.append({"params": members, "lr": rate, "top_lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups, fused=True)


def set_learning_rates(
    optimiser: torch.optim.Optimizer, step: int, num_steps: int, *, warmup_fraction: float
) -> None:
    """Put every group on its rate for a step: linear from 0 to the group's top, then a cosine down to 0."""
    factor = schedule_factor(step, num_steps, warmup_fraction=warmup_fraction)
    for group in optimiser.param_groups:
        group["lr"] = group["top_lr"] * factor


def schedule_factor(step: int, num_steps: int, *, warmup_fraction: float) -> float:
    """Part of the top rate at a step, in [0, 1].

    Args:
        step: In [0, num_steps).
        num_steps: Of the whole schedule, > 0.
        warmup_fraction: Of all steps, in [0, 1).
    """
    warmup_steps = warmup_fraction * num_steps
    if step + 1 <= warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1.0, num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))
