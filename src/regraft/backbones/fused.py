"""A frozen network with batch norms and activations folded into its convolutions: the same function, faster.

Knows nothing of which network it is. What is fused is not trained.
"""

import copy
import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.fused_convolution import FusedConvolution
from regraft.backbones.steps import find_steps

# Rounding of float32 through a hundred layers stays far below; a part that was taken for another does not.
_TOLERANCE = 1e-3


_logger = logging.getLogger(__name__)


def fuse(backbone: Backbone, *, size: int) -> Backbone:
    """A copy of a frozen backbone for inference: every convolution fused with the norm and activation behind it.

    The copy is tried against the original on one batch, stage by stage; where one does not compute the same function (a
    network whose parts are joined in a way not foreseen here) it is a plain copy.

    Args:
        backbone: In evaluation mode, float32, on the CPU; not changed.
        size: Of the images it will be given, pixels a side.
    """
    with torch.inference_mode(False), torch.no_grad():
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        expected = _stage_outputs(backbone, images)
        fused = copy.deepcopy(backbone).requires_grad_(False)
        put_steps(fused, lambda: fused(images), FusedConvolution, activations="all")
        for stage, output in _stage_outputs(fused, images).items():
            change = (output - expected[stage]).norm() / expected[stage].norm().clamp(min=1e-30)
            if not change <= _TOLERANCE:  # not: NaN is no match
                _logger.info(
                    "%s is run unfused: fusing changes what %s gives by %.2g",
                    backbone.spec.name,
                    stage,
                    change,
                )
                return copy.deepcopy(backbone)
    return fused


def _stage_outputs(backbone: Backbone, images: Tensor) -> dict[str, Tensor]:
    """What each stage gives: a head or a border may be put behind any of them."""
    outputs, activation = {}, images
    for stage in backbone.stages:
        outputs[stage] = activation = backbone.forward_range(activation, stage, stage)
    return outputs


def put_steps(
    network: nn.Module,
    run: Callable[[], object],
    make: Callable[[nn.Conv2d, nn.BatchNorm2d | None, nn.Module | None], nn.Module],
    *,
    activations: Literal["own", "all"],
) -> list[nn.Module]:
    """Put one module in the place of every convolution, norm and activation that follow one another.

    Args:
        network: In evaluation mode; changed.
        run: Sends a batch through the network as it will be used.
        make: That one module, from the three it replaces.
        activations: Whether one that serves other places too (and stays there, where it has nothing left to do) is
            taken in all the same.

    Returns:
        The modules put in.
    """
    made = []
    for step in find_steps(network, run):
        convolution = network.get_submodule(step.convolution)
        norm = None if step.norm is None else network.get_submodule(step.norm)
        is_taken = step.activation is not None and (step.is_activation_its_own or activations == "all")
        activation = network.get_submodule(step.activation) if is_taken and step.activation else None
        assert isinstance(convolution, nn.Conv2d)
        assert norm is None or isinstance(norm, nn.BatchNorm2d)
        made.append(make(convolution, norm, activation))
        network.set_submodule(step.convolution, made[-1])
        if step.activation is not None and step.is_activation_its_own:
            network.set_submodule(step.activation, nn.Identity())
        if step.norm is not None:
            network.set_submodule(step.norm, nn.Identity())
    return made
