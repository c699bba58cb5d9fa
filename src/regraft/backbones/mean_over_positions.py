"""The mean over positions of an activation map in half precision, whose gradient is not written out.

Knows one operation. PyTorch's own way back writes the gradient three times, once in float32 and once in another order.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def mean_over_positions(activation: Tensor) -> Tensor:
    """`(B, C, H, W)` of any type to `(B, C)` float32, as the mean of it in float32."""
    result: Tensor = _Mean.apply(activation)
    return result


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activation: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = activation.shape, activation.dtype
        return functional.adaptive_avg_pool2d(activation.float(), 1).flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> Tensor:
        rows, columns = ctx.shape[2:]
        gradient: Tensor = (given / (rows * columns)).to(ctx.dtype)
        return gradient[:, :, None, None].expand(ctx.shape)
