"""Convolutions of one pixel as products over channels, with the activation behind them, and their gradients.

Knows one operation; neither how its weights came about nor the network around it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from regraft.backbones.fused_convolution import ACTIVATIONS


@dataclass(frozen=True)
class Activation:
    """An activation with its derivative.

    Attributes:
        apply: Elementwise; in place where the derivative follows from what it gives.
        back: The gradient with respect to what it takes, from that with respect to what it gives and what was kept.
        keeps_output: Whether what it gives is kept for that; else what it takes.
    """

    apply: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]
    keeps_output: bool


NO_ACTIVATION: Final = type(None)
DERIVATIVES: dict[type, Activation] = {
    NO_ACTIVATION: Activation(lambda given: given, lambda gradient, _: gradient, keeps_output=True),
    nn.ReLU: Activation(
        torch.relu_,
        lambda gradient, output: torch.ops.aten.threshold_backward(gradient, output, 0),
        keeps_output=True,
    ),
    nn.ReLU6: Activation(
        lambda given: functional.relu6(given, inplace=True),
        lambda gradient, output: torch.ops.aten.hardtanh_backward(gradient, output, 0.0, 6.0),
        keeps_output=True,
    ),
    nn.Hardswish: Activation(functional.hardswish, torch.ops.aten.hardswish_backward, keeps_output=False),
    nn.SiLU: Activation(functional.silu, torch.ops.aten.silu_backward, keeps_output=False),
}


def product(images: Tensor, weight: Tensor, bias: Tensor | None, activation: type) -> Tensor:
    """A convolution of one pixel as a product over channels, and an activation.

    Args:
        images: `(B, C, H, W)`; channels last, or it is copied.
        weight: `(C', C, 1, 1)`, of the same type.
        bias: `(C',)`, of the same type; None for none.
        activation: A key of `DERIVATIVES`.

    Returns:
        `(B, C', H, W)`, channels last.
    """
    result: Tensor = _Product.apply(images, weight, bias, activation)
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, activation: type) -> Tensor:
        kind = DERIVATIVES[activation]
        rows = _rows(images)
        if kind.keeps_output:
            kept = output = _images(_linear(rows, weight.flatten(1), bias, activation), images.shape)
        else:
            kept = _images(_linear(rows, weight.flatten(1), bias, NO_ACTIVATION), images.shape)
            output = kind.apply(kept)
        ctx.save_for_backward(rows, weight, None if activation is NO_ACTIVATION else kept)
        ctx.back, ctx.shape, ctx.has_bias = kind.back, images.shape, bias is not None
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, kept = ctx.saved_tensors
        gradient = _rows(given)
        if kept is not None:
            gradient = ctx.back(gradient, _rows(kept))
        of_images = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_images = _images(gradient @ weight.flatten(1), ctx.shape)
        if ctx.needs_input_grad[1]:
            of_weight = (gradient.t() @ rows)[:, :, None, None]
        if ctx.has_bias and ctx.needs_input_grad[2]:
            of_bias = gradient.sum(dim=0)
        return of_images, of_weight, of_bias, None


def _rows(images: Tensor) -> Tensor:
    """`(B, C, H, W)` to `(B·H·W, C)`: a view of what is channels last."""
    return images.permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _images(rows: Tensor, shape: torch.Size) -> Tensor:
    """`(B·H·W, C)` to `(B, C, H, W)`, for a shape with other channels.

    It shares memory, yet autograd does not know it for a view: what a network adds to in place must not be one.
    """
    return rows.view(shape[0], *shape[2:], rows.shape[1]).permute(0, 3, 1, 2).data


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None, activation: type) -> Tensor:
    if rows.dtype is torch.bfloat16 and rows.device.type == "cpu" and has_fused_product():
        name, scalars = ("none", []) if activation is NO_ACTIVATION else ACTIVATIONS[activation]
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, name, scalars, "")
        return result
    return DERIVATIVES[activation].apply(functional.linear(rows, weight, bias))


@cache
def has_fused_product() -> bool:
    """Whether PyTorch has oneDNN's product with an activation in bfloat16 here: an operation it keeps to itself."""
    ones = torch.ones(2, 2, dtype=torch.bfloat16)
    try:
        result = torch.ops.mkldnn._linear_pointwise(ones, 9 * ones, -ones[0], "hardtanh", [0.0, 6.0], "")
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.equal(result, 6 * ones))
