"""The trained stages as training runs them on a CPU: frozen norms folded in, large products in bfloat16.

Knows modules, neither data nor losses. What it returns shares every parameter with what it was made from.
"""

import copy
import logging

import torch
from torch import Tensor, nn
from torch.nn import functional

from regraft.backbones.backbone import Backbone
from regraft.backbones.fused import put_steps
from regraft.backbones.fused_convolution import Geometry

_TOLERANCE = 1e-3  # rounding of float32 stays far below
_logger = logging.getLogger(__name__)


class FoldedConvolution(nn.Module):
    """A convolution, the frozen statistics of the norm behind it, and its activation, trainable.

    Convolutions of one pixel are matrix products over channels, several times faster than as convolutions. Grouped
    ones stay in float32: their gradient in bfloat16 takes up to a hundred times as long.

    Args:
        convolution: Its parameters are shared.
        norm: In evaluation mode; its parameters are shared. None for none.
        activation: None for none.
    """

    def __init__(
        self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, activation: nn.Module | None
    ) -> None:
        super().__init__()
        self.convolution, self.norm = convolution, norm
        self.activation = activation
        self.dtype = torch.float32
        self._geometry = geometry = Geometry.of(convolution)
        self._is_product = (geometry.kernel_size, geometry.stride, geometry.groups, geometry.padding) in (
            ((1, 1), (1, 1), 1, (0, 0)),
            ((1, 1), (1, 1), 1, None),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        weight, bias = self.convolution.weight, self.convolution.bias
        if self.norm is not None:
            weight, bias = _folded(weight, bias, self.norm)
        dtype = torch.float32 if self._geometry.groups > 1 else self.dtype
        images, weight, bias = images.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        if self._is_product:
            result = functional.linear(images.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(
                0, 3, 1, 2
            )
        else:
            result = self._geometry.convolve(images, weight, bias)
        return result if self.activation is None else self.activation(result)


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
        module.dtype = dtype
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


def _folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution with the norm's statistics and parameters in it, differentiable."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None, "in evaluation mode"
    assert variance is not None
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = (norm.bias if norm.affine else 0.0) - mean * scale
    return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
