"""Depthwise convolutions that are not trained while what lies before them is: both ways by a frozen pass' operation.

Knows one convolution with its norm and activation, not the network around it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from regraft.backbones.fused_convolution import FusedConvolution, Geometry
from regraft.training.products import DERIVATIVES


class FrozenDepthwise(nn.Module):
    """A depthwise convolution that is not trained, the norm behind it, and its activation.

    The gradient with respect to what it takes is a convolution too, with the kernel turned round: over the gradient of
    what it gives, with zeros between its rows and columns where the stride is more than one. So both ways are run by
    the operation of a frozen pass; PyTorch's own way back takes up to a hundred times as long in bfloat16.

    Args:
        convolution: One that `is_possible` for; copied, as the norm is.
        norm: In evaluation mode; None for none.
        activation: Of a type in `DERIVATIVES`; None for none.
    """

    def __init__(
        self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, activation: nn.Module | None
    ) -> None:
        super().__init__()
        self._kind = DERIVATIVES[type(activation)]
        self._ahead = FusedConvolution(convolution, norm, activation if self._kind.keeps_output else None)
        self._geometry = Geometry.of(convolution)
        self._turned: dict[tuple[torch.dtype, tuple[int, ...]], FusedConvolution] = {}

    @staticmethod
    def is_possible(convolution: nn.Conv2d) -> bool:
        """Whether it is depthwise, on the CPU, and pads no more than its kernel reaches."""
        geometry = Geometry.of(convolution)
        return (
            convolution.groups == convolution.in_channels == convolution.out_channels > 1
            and convolution.weight.device.type == "cpu"
            and all(
                padding <= dilation * (kernel - 1)
                for padding, dilation, kernel in zip(
                    geometry.padding or (0, 0), geometry.dilation, geometry.kernel_size, strict=True
                )
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` of the module's type to `(B, C, H', W')`, channels last."""
        result: Tensor = _Depthwise.apply(images, self)
        return result

    def ahead(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What it gives, and what is kept for the way back."""
        kept: Tensor = self._ahead(images.contiguous(memory_format=torch.channels_last))
        return (kept if self._kind.keeps_output else self._kind.apply(kept)), kept

    def back(self, gradient: Tensor, kept: Tensor, sizes: torch.Size) -> Tensor:
        """The gradient with respect to images of H rows and W columns."""
        gradient = self._kind.back(gradient.contiguous(memory_format=torch.channels_last), kept)
        spread, padding = _spread(gradient, self._geometry, sizes)
        key = (gradient.dtype, padding)
        if key not in self._turned:
            self._turned[key] = self._turn(padding)
        result: Tensor = self._turned[key](spread)
        return result

    def _turn(self, padding: tuple[int, ...]) -> FusedConvolution:
        weight = self._ahead.weight
        convolution = nn.Conv2d(
            len(weight),
            len(weight),
            self._geometry.kernel_size,  # type: ignore[arg-type]
            padding=padding,  # type: ignore[arg-type]
            dilation=self._geometry.dilation,  # type: ignore[arg-type]
            groups=len(weight),
            bias=False,
            device="meta",
        )
        convolution.weight = nn.Parameter(weight.flip(2, 3), requires_grad=False)
        return FusedConvolution(convolution, None, None).to(weight.dtype)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, module: FrozenDepthwise) -> Tensor:
        output, kept = module.ahead(images)
        ctx.save_for_backward(kept)
        ctx.module, ctx.sizes = module, images.shape[2:]
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (kept,) = ctx.saved_tensors
        return ctx.module.back(given, kept, ctx.sizes), None


def _spread(gradient: Tensor, geometry: Geometry, sizes: torch.Size) -> tuple[Tensor, tuple[int, ...]]:
    """What the turned kernel goes over, and the padding left to it: the gradient, with zeros in between for a stride.

    Of the zeros around, as many before as after are the kernel's own padding; the others are written down.
    """
    axes = [
        _Axis(size, count, stride, dilation * (kernel - 1), before)
        for size, count, stride, dilation, kernel, (before, _) in zip(
            sizes,
            gradient.shape[2:],
            geometry.stride,
            geometry.dilation,
            geometry.kernel_size,
            geometry.sides(sizes),
            strict=True,
        )
    ]
    padding = tuple(axis.padding for axis in axes)
    if all(axis.length == axis.count for axis in axes):
        return gradient, padding
    batch, channels = gradient.shape[:2]
    spread = gradient.new_zeros(batch, *(axis.length for axis in axes), channels).permute(0, 3, 1, 2)
    rows, columns = (axis.places for axis in axes)
    spread[:, :, rows, columns] = gradient
    return spread, padding


@dataclass(frozen=True)
class _Axis:
    """The way back along rows or columns.

    Attributes:
        size: Of what the convolution takes.
        count: Of what it gives.
        stride: From one place of the kernel to the next.
        reach: From its first tap to its last.
        padding_before: Zeros that the convolution puts before what it takes.
    """

    size: int
    count: int
    stride: int
    reach: int
    padding_before: int

    @property
    def before(self) -> int:
        """Zeros before the gradient."""
        return self.reach - self.padding_before

    @property
    def spread(self) -> int:
        """Length of the gradient with zeros in between."""
        return self.stride * (self.count - 1) + 1

    @property
    def padding(self) -> int:
        """Zeros left to the kernel, on either side."""
        return min(self.before, self.size + self.reach - self.before - self.spread)

    @property
    def length(self) -> int:
        """Of what the kernel goes over."""
        return self.size + self.reach - 2 * self.padding

    @property
    def places(self) -> slice:
        """Where in it the gradient stands."""
        first = self.before - self.padding
        return slice(first, first + self.spread, self.stride)
