"""Rounding's shift taken back: biases of a network in bfloat16 moved until its means are those of float32.

A rounded weight shifts its channel by nearly as much in every image. That is small beside the channel's mean and large
beside its spread among images that look alike. Knows fused convolutions; what else rounds is left.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from regraft.backbones.fused_convolution import FusedConvolution


def calibrate(rounded: nn.Module, exact: nn.Module, images: Tensor, *, dtype: torch.dtype) -> None:
    """Move the biases of a rounded network's fused convolutions.

    In one pass, from the first to the last: each is given what those before it give once moved. Before its activation
    every channel then has the mean, over images and positions, that it has in the exact network.

    Args:
        rounded: The exact network in another type; its biases are changed.
        exact: In float32.
        images: `(B, 3, H, W)` normalised float32, on the networks' device.
        dtype: Of the rounded network.

    Source:
        Bias correction of Nagel et al. 2019, arXiv:1906.04721, section 4.2, with means that are measured.
    """
    expected: dict[str, Tensor] = {}
    runs: Counter[str] = Counter()

    def expect(name: str, convolution: FusedConvolution, inputs: Tensor) -> None:
        expected[name] = _means(convolution, inputs)
        runs[name] += 1

    def correct(name: str, convolution: FusedConvolution, inputs: Tensor) -> None:
        if runs[name] == 1:  # one that runs twice has one bias for two shifts
            convolution.bias += expected[name] - _means(convolution, inputs)

    with torch.no_grad():
        with _before_each(exact, expect):
            exact(images)
        with _before_each(rounded, correct):
            rounded(images.to(dtype))


def _means(convolution: FusedConvolution, inputs: Tensor) -> Tensor:
    """`(C',)` float32, over images and positions."""
    return convolution.before_activation(inputs).float().mean(dim=(0, 2, 3))


@contextmanager
def _before_each(network: nn.Module, call: Callable[[str, FusedConvolution, Tensor], None]) -> Iterator[None]:
    """While it lasts, `call` gets name, convolution and inputs of every fused convolution before it runs."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(convolution: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(convolution, FusedConvolution)
            call(name, convolution, inputs[0])

        return hook

    handles = [
        module.register_forward_pre_hook(hook_of(name))
        for name, module in network.named_modules()
        if isinstance(module, FusedConvolution)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
