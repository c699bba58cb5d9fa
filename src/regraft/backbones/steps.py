"""Which convolution, norm and activation of a network follow one another, watched in one forward pass.

Knows nothing of which network it is, nor of what is done with what it finds.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regraft.backbones.fused_convolution import ACTIVATIONS

# Applied twice they do what they do once: one module that serves several places can stay at the others.
_IDEMPOTENT = (nn.ReLU, nn.ReLU6)


@dataclass(frozen=True)
class Step:
    """Names of modules that do one thing together. An activation may serve other places too."""

    convolution: str
    norm: str | None
    activation: str | None
    is_activation_its_own: bool


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
        if type(activation) not in ACTIVATIONS:
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
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, *ACTIVATIONS)) and module not in inside_norms:
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
    if type(activation) not in ACTIVATIONS:
        return None
    return activation if counts[activation] == 1 or isinstance(activation, _IDEMPOTENT) else None


def _is_norm_alone(norm: nn.BatchNorm2d) -> bool:
    """Whether it can be folded: it normalises by statistics it holds, not by those of the batch, and nothing but a
    known activation comes with it (timm's may also drop out, or have other activations)."""
    drop, activation = getattr(norm, "drop", None), getattr(norm, "act", None)
    is_known = type(activation) in (type(None), nn.Identity, *ACTIVATIONS)
    return norm.running_mean is not None and isinstance(drop, nn.Identity | None) and is_known
