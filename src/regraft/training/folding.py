"""Convolutions that train with the norm behind them folded in, and weights folded once for all passes of an update.

Knows modules and losses, no data.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone
from regraft.backbones.fused_convolution import Geometry
from regraft.training.frozen_depthwise import FrozenDepthwise
from regraft.training.products import product


class FoldedConvolution(nn.Module):
    """A convolution, the frozen statistics of the norm behind it, and its activation, trainable.

    Convolutions of one pixel are matrix products over channels, several times faster than as convolutions. Grouped
    ones that are trained stay in float32: their gradient in bfloat16 takes up to a hundred times as long.

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
        self.held: tuple[Tensor, Tensor | None] | None = None
        self._geometry = geometry = Geometry.of(convolution)
        self._is_product = (geometry.kernel_size, geometry.stride, geometry.groups, geometry.padding) in (
            ((1, 1), (1, 1), 1, (0, 0)),
            ((1, 1), (1, 1), 1, None),
        )
        is_frozen = not any(parameter.requires_grad for parameter in self.parameters())
        self._depthwise = (
            FrozenDepthwise(convolution, norm, activation)
            if is_frozen and FrozenDepthwise.is_possible(convolution)
            else None
        )

    @property
    def is_frozen_depthwise(self) -> bool:
        """Whether its weights were folded once and for all."""
        return self._depthwise is not None

    def compute_in(self, dtype: torch.dtype) -> None:
        """Run in a type from now on; parameters stay float32."""
        if self._depthwise is not None:
            self._depthwise.to(dtype)
        if self._depthwise is not None or self._geometry.groups == 1:
            self.dtype = dtype

    def fold(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the convolution with the norm's statistics and parameters in it, differentiable."""
        weight, bias = self.convolution.weight, self.convolution.bias
        return (weight, bias) if self.norm is None else _folded(weight, bias, self.norm)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        images = images.to(self.dtype)
        if self._depthwise is not None:
            output: Tensor = self._depthwise(images)
            return output
        weight, bias = self.held or self.fold()
        weight, bias = weight.to(self.dtype), None if bias is None else bias.to(self.dtype)
        if self._is_product:
            return product(images, weight, bias, type(self.activation))
        result = self._geometry.convolve(images, weight, bias)
        return result if self.activation is None else self.activation(result)


class HeldWeights:
    """The folded weights of a network, held while the passes of one update run; gradients flow on through the folding
    once, from the sum over these passes.

    Args:
        network: Some of its convolutions are folded.
        parameters: Whose gradients are asked for.
    """

    def __init__(self, network: Backbone, parameters: Sequence[Tensor]) -> None:
        self.network = network
        uses = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
        self._steps = [
            module
            for module in network.modules()
            if isinstance(module, FoldedConvolution)
            and not module.is_frozen_depthwise
            and all(uses[id(parameter)] == 1 for parameter in module.parameters())
        ]
        self._parameters = list(parameters)
        inside = {id(parameter) for step in self._steps for parameter in step.parameters()}
        self._direct = [parameter for parameter in parameters if id(parameter) not in inside]
        self._folded: list[Tensor] = []
        self._held: list[Tensor] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the weights as they are now."""
        self._folded, self._held = [], []
        try:
            for step in self._steps:
                weight, bias = step.fold()
                held = [self._hold(tensor, step.dtype) for tensor in (weight, bias) if tensor is not None]
                step.held = (held[0], held[1] if len(held) > 1 else None)
            yield
        finally:
            for step in self._steps:
                step.held = None

    def _hold(self, folded: Tensor, dtype: torch.dtype) -> Tensor:
        held = folded.detach().to(dtype)
        if folded.requires_grad:
            held = held.detach().requires_grad_(True)
            self._folded.append(folded)
            self._held.append(held)
        return held

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Of one pass, with respect to what is held and to parameters beside it, to be summed over passes."""
        return list(torch.autograd.grad(loss, [*self._held, *self._direct]))

    def through(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Of the parameters, in their order, from float32 sums of what `gradients` gives; once an update."""
        num_held = len(self._held)
        found = dict(zip(map(id, self._direct), gradients[num_held:], strict=True))
        inside = [parameter for parameter in self._parameters if id(parameter) not in found]
        if inside:
            folded = torch.autograd.grad(self._folded, inside, gradients[:num_held])
            found |= zip(map(id, inside), folded, strict=True)
        return [found[id(parameter)] for parameter in self._parameters]


def added(sums: list[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Float32 sums with what one more pass gives; they are changed."""
    if not sums:
        return [gradient.float() for gradient in gradients]
    for total, gradient in zip(sums, gradients, strict=True):
        total.add_(gradient)
    return sums


def _folded(weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None, "in evaluation mode"
    assert variance is not None
    scale = torch.rsqrt(variance + norm.eps)
    if norm.affine:
        scale = scale * norm.weight
    shift = (norm.bias if norm.affine else 0.0) - mean * scale
    return weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
