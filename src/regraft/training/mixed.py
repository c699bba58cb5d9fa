"""The trained stages as training runs them on a CPU: frozen norms folded in, convolutions in bfloat16.

Knows modules, neither data nor losses. What it returns shares every parameter with what it was made from.
"""

import copy
import logging

import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.fused import put_steps
from regraft.training.folding import FoldedConvolution

_TOLERANCE = 1e-3  # rounding of float32 stays far below
_logger = logging.getLogger(__name__)


def mix_precision(backbone: Backbone, first: str | None, border: Tensor, *, dtype: torch.dtype) -> Backbone:
    """A backbone for training, which shares every parameter and buffer with the one given.

    Norms without running statistics, those that adapt, stay as they are; the convolutions before them become products
    in `dtype` all the same. What is made is tried against the original in float32 on one batch; where it does not
    compute the same function, the original is handed back.

    Args:
        backbone: In evaluation mode; not changed.
        first: The first stage that is trained, run from there; None where the head alone is.
        border: A batch of what that stage takes; of several images where norms adapt.
        dtype: Of the large products; float32 gains little.
    """
    if first is None:
        return backbone
    shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
    mixed = copy.deepcopy(backbone, dict[int, object](shared))
    folded = put_steps(
        mixed, lambda: mixed.forward_range(border, first, None), FoldedConvolution, activations="own"
    )
    if any(isinstance(module, nn.BatchNorm2d) and module.running_mean is None for module in mixed.modules()):
        folded += _put_bare_convolutions(mixed)
    with torch.no_grad():
        expected = backbone.forward_range(border, first, None)
        difference = (mixed.forward_range(border, first, None) - expected).norm() / expected.norm()
    if difference > _TOLERANCE:
        _logger.info("%s is trained as it is: folding changes it by %.2g", backbone.spec.name, difference)
        return backbone
    for module in folded:
        assert isinstance(module, FoldedConvolution)
        module.compute_in(dtype)
    inside = {inner for module in folded for inner in module.modules()}
    for other in mixed.modules():
        if other not in inside and list(other.parameters(recurse=False)):
            other.register_forward_pre_hook(_take_float32)
    return mixed


def _put_bare_convolutions(network: nn.Module) -> list[nn.Module]:
    """Put what trains in mixed precision in the place of every convolution that was not folded with a norm."""
    inside = {id(module.convolution) for module in network.modules() if isinstance(module, FoldedConvolution)}
    made: dict[str, nn.Module] = {
        name: FoldedConvolution(module, None, None)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros" and id(module) not in inside
    }
    for name, module in made.items():
        network.set_submodule(name, module)
    return list(made.values())


def _take_float32(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(taken.float() if isinstance(taken, Tensor) else taken for taken in inputs)
