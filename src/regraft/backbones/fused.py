"""A frozen network with batch norms and activations folded into its convolutions: the same function, faster.

Knows nothing of which network it is: what feeds what is watched in one forward pass. What is fused is not trained.
"""

import copy
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from regraft.backbones.backbone import Backbone

# An activation's name and scalars in oneDNN's fused convolution.
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.Hardswish: ("hardswish", []),
    nn.SiLU: ("swish", []),
}
# Applied twice they do what they do once: one module that serves several places can stay at the others.
_IDEMPOTENT = (nn.ReLU, nn.ReLU6)
# Rounding of float32 through a hundred layers stays far below; a part that was taken for another does not.
_TOLERANCE = 1e-3

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """Names of modules that do one thing together. An activation may serve other places too."""

    convolution: str
    norm: str | None
    activation: str | None
    is_activation_its_own: bool


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
        if self.padding is not None:
            return images, list(self.padding)
        sides = []
        for size, kernel, stride, dilation in zip(
            images.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
            sides.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = sides
        if top == bottom and left == right:
            return images, [top, left]
        return functional.pad(images, (left, right, top, bottom)), [0, 0]


class FusedConvolution(nn.Module):
    """Convolution, batch norm and activation as one operation.

    Where PyTorch has no such operation for the device, convolution and activation run one after the other.

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
        self._fused_activation = ("none", []) if activation is None else _ACTIVATIONS[type(activation)]

    def forward(self, images: Tensor) -> Tensor:
        """`(B, C, H, W)` in the weight's dtype to `(B, C', H', W')`."""
        geometry = self._geometry
        if images.device.type == "cpu" and has_fused_convolution():
            images, padding = geometry.pad(images)
            result: Tensor = torch.ops.mkldnn._convolution_pointwise(
                images,
                self.weight,
                self.bias,
                padding,
                list(geometry.stride),
                list(geometry.dilation),
                geometry.groups,
                *self._fused_activation,
                "",
            )
            return result
        result = geometry.convolve(images, self.weight, self.bias)
        return result if self._activation is None else self._activation(result)


def fuse(backbone: Backbone, *, size: int) -> Backbone:
    """A copy of a frozen backbone for inference: every convolution fused with the norm and activation behind it.

    The copy is tried against the original on one batch; where it does not compute the same function (a network whose
    parts are joined in a way not foreseen here) it is a plain copy.

    Args:
        backbone: In evaluation mode, float32, on the CPU; not changed.
        size: Of the images it will be given, pixels a side.
    """
    with torch.inference_mode(False), torch.no_grad():
        images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        expected = backbone(images)
        fused = copy.deepcopy(backbone).requires_grad_(False)
        put_steps(fused, lambda: fused(images), FusedConvolution, activations="all")
        difference = (fused(images) - expected).norm() / expected.norm()
    if difference <= _TOLERANCE:
        return fused
    _logger.info("%s is run unfused: fusing changes its output by %.2g", backbone.spec.name, difference)
    return copy.deepcopy(backbone)


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


def find_steps(network: nn.Module, run: Callable[[], object]) -> list[Step]:
    """Convolutions whose output goes straight into a norm or an activation, in the order they run.

    Args:
        network: In evaluation mode; watched, not changed.
        run: Sends a batch through it. What is done to an output outside of modules is seen where it is done in place,
            else not: whoever puts steps in the place of modules tries the result.
    """
    calls = _record_calls(network, run)
    names = {module: name for name, module in network.named_modules()}
    counts = Counter(call.module for call in calls)
    steps = []
    for call in calls:
        convolution = call.module
        if (
            not isinstance(convolution, nn.Conv2d)
            or counts[convolution] > 1
            or convolution.padding_mode != "zeros"
        ):
            continue
        last, norm = call, None
        follower = _taker(call, calls)
        if follower is not None and isinstance(follower.module, nn.BatchNorm2d):
            if counts[follower.module] > 1 or not _is_norm_alone(follower.module):
                continue
            last, norm = follower, follower.module
        # timm's norms bring their activation with them.
        activation: nn.Module | None = getattr(norm, "act", None)
        if type(activation) not in _ACTIVATIONS:
            follower = _taker(last, calls)
            activation = None if follower is None else _fusible(follower.module, counts)
        if norm is not None or activation is not None:
            steps.append(
                Step(
                    convolution=names[convolution],
                    norm=None if norm is None else names[norm],
                    activation=None if activation is None else names[activation],
                    # one that came with the norm is not watched: 0
                    is_activation_its_own=activation is not None and counts[activation] <= 1,
                )
            )
    return steps


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


@dataclass(frozen=True)
class _Call:
    """One call of a module. A tensor is known by its object and by how often it was written to in place."""

    module: nn.Module
    taken: tuple[Tensor, int]
    given: tuple[Tensor, int]


def _record_calls(network: nn.Module, run: Callable[[], object]) -> list[_Call]:
    """Convolutions, norms and activations in the order they run, with what they take and give."""
    calls: list[_Call] = []
    taken: list[tuple[Tensor, int]] = []

    def before(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        taken.append((inputs[0], inputs[0]._version))

    def after(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls.append(_Call(module, taken.pop(), (output, output._version)))

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    inside_norms = {inner for norm in norms for inner in norm.modules() if inner is not norm}
    hooks = []
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, *_ACTIVATIONS)) and module not in inside_norms:
            hooks += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    try:
        with torch.no_grad():  # not inference_mode: it counts no versions
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _taker(call: _Call, calls: list[_Call]) -> _Call | None:
    """The call that takes what a call gave, as it gave it."""
    output, version = call.given
    return next((other for other in calls if other.taken[0] is output and other.taken[1] == version), None)


def _fusible(activation: nn.Module, counts: Counter[nn.Module]) -> nn.Module | None:
    if type(activation) not in _ACTIVATIONS:
        return None
    return activation if counts[activation] == 1 or isinstance(activation, _IDEMPOTENT) else None


def _is_norm_alone(norm: nn.BatchNorm2d) -> bool:
    """Whether nothing but a known activation comes with it (timm's may also drop out, or have other activations)."""
    drop, activation = getattr(norm, "drop", None), getattr(norm, "act", None)
    return isinstance(drop, nn.Identity | None) and type(activation) in (
        type(None),
        nn.Identity,
        *_ACTIVATIONS,
    )


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
