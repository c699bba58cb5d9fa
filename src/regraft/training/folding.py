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

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        images = images.to(self.dtype)
        if self._depthwise is not None:
            output: Tensor = self._depthwise(images)
            return output
        weight, bias = self.held or self.fold()
        if self._is_product:
            return product(images, weight, bias, type(self.activation))
        result = self._geometry.convolve(images, weight, bias)
        return result if self.activation is None else self.activation(result)

    def fold(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the norm's statistics and parameters in them, in the type it runs in; differentiable."""
        weight, bias = self.convolution.weight, self.convolution.bias
        if self.norm is not None:
            mean, _, scale = _moments(self.norm)
            shift = (self.norm.bias if self.norm.affine else 0.0) - mean * scale
            weight = weight * scale[:, None, None, None]
            bias = shift if bias is None else bias * scale + shift
        return weight.to(self.dtype), None if bias is None else bias.to(self.dtype)

    def through_fold(self, of_weight: Tensor, of_bias: Tensor | None) -> list[tuple[Tensor, Tensor]]:
        """Parameters with their gradients, from those with respect to what `fold` gives.

        Autograd would do the same, in three times as long and rounding what it takes to the type of what was given.

        Args:
            of_weight: `(C', C, h, w)` float32; changed.
            of_bias: `(C',)` float32; None where there is none.
        """
        weight, bias, norm = self.convolution.weight, self.convolution.bias, self.norm
        found = [(weight, of_weight)]
        if norm is None:
            return found if bias is None or of_bias is None else [*found, (bias, of_bias)]
        assert of_bias is not None
        mean, inverse, scale = _moments(norm)
        if norm.affine:
            of_scale = torch.linalg.vecdot(of_weight.flatten(1), weight.flatten(1)) - mean * of_bias
            if bias is not None:
                of_scale += bias * of_bias
            found += [(norm.weight, of_scale * inverse), (norm.bias, of_bias)]
        if bias is not None:
            found.append((bias, of_bias * scale))
        of_weight.mul_(scale[:, None, None, None])
        return found


class HeldWeights:
    """The folded weights of a network, held while the passes of one update run: they are folded once, and gradients
    go back through the folding once, summed over these passes.

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
        asked = {id(parameter) for parameter in parameters}
        self._learning = [
            step for step in self._steps if any(id(parameter) in asked for parameter in step.parameters())
        ]
        inside = {id(parameter) for step in self._learning for parameter in step.parameters()}
        self._direct = [parameter for parameter in parameters if id(parameter) not in inside]
        self._leaves: list[tuple[Tensor, Tensor | None]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the weights as they are now."""
        try:
            with torch.no_grad():
                for step in self._steps:
                    weight, bias = step.fold()
                    step.held = (weight.detach(), None if bias is None else bias.detach())
            self._leaves = [step.held for step in self._learning if step.held]
            for leaf in self._flat_leaves():
                leaf.requires_grad_(True)
            yield
        finally:
            for step in self._steps:
                step.held = None

    def gradients(self, loss: Tensor) -> list[Tensor]:
        """Of one pass, with respect to what is held and to parameters beside it: to be `added` over passes."""
        return list(torch.autograd.grad(loss, [*self._flat_leaves(), *self._direct]))

    @torch.no_grad()
    def through(self, sums: Sequence[Tensor]) -> list[Tensor]:
        """Float32 gradients of the parameters, in their order, from what `gradients` gives; they are changed."""
        given = iter([total.float() for total in sums])
        found: dict[int, Tensor] = {}
        for step, (_, bias) in zip(self._learning, self._leaves, strict=True):
            parts = step.through_fold(next(given), None if bias is None else next(given))
            found |= {id(parameter): gradient for parameter, gradient in parts}
        found |= zip(map(id, self._direct), given, strict=True)
        return [_laid_out_as(parameter, found[id(parameter)]) for parameter in self._parameters]

    def _flat_leaves(self) -> list[Tensor]:
        return [leaf for leaves in self._leaves for leaf in leaves if leaf is not None]


def added(sums: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Float32 sums with what one more pass gives; what the first pass gave is left as it is."""
    if not sums:
        return list(gradients)
    # One after another: while it is in the cache
    return [total.float().add_(gradient) for total, gradient in zip(sums, gradients, strict=True)]


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the memory order of its parameter: a fused optimiser reads both as they lie, and checks nothing."""
    if parameter.is_contiguous() and gradient.is_contiguous():  # whatever the strides of axes of length 1
        return gradient
    return (
        gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
    )


def _moments(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor]:
    """Of a norm in evaluation mode: its mean, one over its deviation, and what it multiplies by, `(C,)` each."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    inverse = torch.rsqrt(norm.running_var + norm.eps)
    return norm.running_mean, inverse, inverse * norm.weight if norm.affine else inverse
