"""A convolution with the batch norm and the activation behind it folded in: one operation, for inference.

Knows one convolution, not the network around it. oneDNN's own operations are used where they prove themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

# An activation's name and scalars in oneDNN's fused convolution.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}


@dataclass(frozen=True)
class Geometry:
    """Where a convolution looks.

    Attributes:
        padding: Rows and columns of zeros on either side; None where as many are put on as keep `size / stride`,
            the odd one last, as TensorFlow and timm's `Conv2dSame` do.
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding: tuple[int, ...] | None

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> Self:
        """That of a convolution; timm's is known by its name, so that timm need not be loaded."""
        padding = convolution.padding
        is_same = type(convolution).__name__ == "Conv2dSame" or padding == "same"
        numbers = (0, 0) if isinstance(padding, str) else padding
        return cls(
            convolution.kernel_size,
            convolution.stride,
            convolution.dilation,
            convolution.groups,
            None if is_same else numbers,
        )

    def convolve(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`(B, C, H, W)` and the convolution's own weight and bias to `(B, C', H', W')`."""
        images, padding = self.pad(images)
        return functional.conv2d(images, weight, bias, self.stride, padding, self.dilation, self.groups)

    def pad(self, images: Tensor) -> tuple[Tensor, list[int]]:
        """Images with what the convolution cannot pad itself, and the padding left to it."""
        (top, bottom), (left, right) = self.sides(images.shape[2:])
        if top == bottom and left == right:
            return images, [top, left]
        return functional.pad(images, (left, right, top, bottom)), [0, 0]

    def sides(self, sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Rows of zeros above and below, columns of zeros left and right of images of H rows and W columns."""
        if self.padding is not None:
            return tuple((number, number) for number in self.padding)
        sides = []
        for size, kernel, stride, dilation in zip(
            sizes, self.kernel_size, self.stride, self.dilation, strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
            sides.append((total // 2, total - total // 2))
        return tuple(sides)


@dataclass(frozen=True)
class _Ready:
    """What a convolution of images of one size takes."""

    weight: Tensor
    padding: list[int]
    is_padded_first: bool


class FusedConvolution(nn.Module):
    """Convolution, batch norm and activation as one operation.

    Where PyTorch has no such operation for the device, convolution and activation run one after the other. The bias is
    float32 whatever the weight is.

    Args:
        convolution: Its weights are copied.
        norm: Folded into weight and bias with the statistics it holds; None for none.
        activation: One of ReLU, ReLU6, Hardswish, SiLU; None for none.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, convolution: nn.Conv2d, norm: nn.BatchNorm2d | None, activation: nn.Module | None
    ) -> None:
        super().__init__()
        weight, bias = _folded(convolution, norm)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self._geometry = Geometry.of(convolution)
        self._activation = activation
        self._fused_activation = ("none", []) if activation is None else ACTIVATIONS[type(activation)]
        self._steps = list(self._geometry.stride), list(self._geometry.dilation)
        self._ready: dict[torch.Size, _Ready] = {}

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` in the weight's dtype to `(B, C', H', W')`."""
        result = self._convolve(images, *self._fused_activation)
        if self._activation is None or _is_fused_on(images):
            return result
        activated: Tensor = self._activation(result)
        return activated

    def before_activation(self, images: Tensor) -> Tensor:
        """As `forward`, without the activation."""
        return self._convolve(images, "none", [])

    def _convolve(self, images: Tensor, activation: str, scalars: list[float]) -> Tensor:
        """The activation is left out where PyTorch has no operation with it."""
        geometry, size = self._geometry, images.shape[2:]
        if size not in self._ready:
            self._ready[size] = self._prepare(images)
        ready = self._ready[size]
        if ready.is_padded_first:
            images, _ = geometry.pad(images)
        if not _is_fused_on(images):
            bias, (stride, dilation) = self.bias.to(images.dtype), self._steps
            return functional.conv2d(
                images, ready.weight, bias, stride, ready.padding, dilation, geometry.groups
            )
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            images,
            ready.weight,
            self.bias,
            ready.padding,
            *self._steps,
            geometry.groups,
            activation,
            scalars,
            "",
        )
        return result

    def _prepare(self, images: Tensor) -> "_Ready":
        """For images of this size: the weight as oneDNN wants it, where it is its to use.

        One row or column more below or right than above or left: a copy of all images to put it on costs more than the
        convolution, so the kernel reaches one row or column further up or left instead, with zeros there.
        """
        geometry, weight = self._geometry, self.weight
        is_padded_first = any(step != 1 for step in geometry.dilation)
        if is_padded_first:
            images, padding = geometry.pad(images)
        else:
            sides = geometry.sides(images.shape[2:])
            padding = [second for _, second in sides]
            weight = _reaching(weight, tuple(second - first for first, second in sides))
        if _is_fused_on(images) and has_packed_weights():
            # For one image: what comes first, a whole batch or the rest of one, must not decide.
            weight = _packed(weight, geometry, padding, torch.Size((1, *images.shape[1:])))
        return _Ready(weight, padding, is_padded_first)

    def _apply(self, *arguments: Any, **settings: Any) -> Self:
        self._ready = {}  # of another type or device from now on
        bias = self.bias
        super()._apply(*arguments, **settings)  # type: ignore[no-untyped-call]
        self.bias = bias.to(self.weight.device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_ready": {}}


def _is_fused_on(images: Tensor) -> bool:
    return images.is_cpu and has_fused_convolution()


@cache
def has_fused_convolution() -> bool:
    """Whether PyTorch has oneDNN's fused convolution here: an operation that it keeps to itself."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    ones = torch.ones(1, 1, 2, 2)
    try:
        result = torch.ops.mkldnn._convolution_pointwise(
            ones,
            torch.full((1, 1, 1, 1), 9.0),
            -ones[0, 0, 0, :1],
            [0, 0],
            [1, 1],
            [1, 1],
            1,
            "hardtanh",
            [0.0, 6.0],
            "",
        )
    except (AttributeError, RuntimeError):
        return False
    return bool(torch.equal(result, 6 * ones))


@cache
def has_packed_weights() -> bool:
    """Whether PyTorch can lay weights out in oneDNN's own order ahead of time here, with the same result."""
    if not has_fused_convolution():
        return False
    generator = torch.Generator().manual_seed(0)
    geometry = Geometry((3, 3), (1, 1), (1, 1), 1, (0, 0))
    arguments: tuple[object, ...] = ([0, 0], [1, 1], [1, 1], 1, "none", [], "")
    with torch.no_grad():
        weight = torch.randn(16, 8, 3, 3, generator=generator).contiguous(memory_format=torch.channels_last)
        images = torch.randn(2, 8, 9, 9, generator=generator).contiguous(memory_format=torch.channels_last)
        plain = torch.ops.mkldnn._convolution_pointwise(images, weight, None, *arguments)
        try:
            packed = _packed(weight, geometry, [0, 0], images.shape)
            result = torch.ops.mkldnn._convolution_pointwise(images, packed, None, *arguments)
        except (AttributeError, RuntimeError):
            return False
    return bool(torch.equal(result, plain))


def _packed(weight: Tensor, geometry: Geometry, padding: list[int], shape: torch.Size) -> Tensor:
    """A weight in oneDNN's own order: readable by its fused convolution alone. Else it is put so at every pass."""
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its stub lacks the last argument
    result: Tensor = reorder(
        weight.to_mkldnn(),
        padding,
        list(geometry.stride),
        list(geometry.dilation),
        geometry.groups,
        list(shape),
    )
    return result


def _reaching(weight: Tensor, extra: tuple[int, ...]) -> Tensor:
    """`(C', C, h, w)` with rows of zeros above and columns of zeros left: the same kernel, reaching further."""
    if not any(extra):
        return weight
    rows, columns = extra
    return functional.pad(weight, (columns, 0, rows, 0)).contiguous(memory_format=torch.channels_last)


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does what both do, computed in float64."""
    weight = convolution.weight.detach()
    bias = torch.zeros(len(weight)) if convolution.bias is None else convolution.bias.detach()
    if norm is None:
        return weight.clone(), bias.clone()
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None, "in evaluation mode"
    assert variance is not None
    scale = 1 / torch.sqrt(variance.double() + norm.eps)
    shift = -mean.double() * scale
    if norm.affine:
        scale, shift = scale * norm.weight.detach(), shift * norm.weight.detach() + norm.bias.detach()
    return (weight * scale[:, None, None, None]).float(), (bias * scale + shift).float()
