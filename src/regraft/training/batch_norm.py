"""Batch norms that adapt: each micro-batch is normalised by itself, and running statistics follow in a fixed order.

Knows norms, neither data nor losses.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from regraft.backbones.backbone import Backbone

_DEFAULT_MOMENTUM = 0.1  # PyTorch's, for a norm that has none of its own


@dataclass(frozen=True)
class Observed:
    """What the norms saw of one micro-batch.

    Attributes:
        num_images: Of the micro-batch.
        moments: A pair a norm, in the network's order: mean `(C,)` and unbiased variance `(C,)`.
    """

    num_images: int
    moments: list[tuple[Tensor, Tensor]]


class AdaptingNorms:
    """The batch norms of some stages, with running statistics that are moved once an update.

    PyTorch's own training mode moves them in every forward pass: with several micro-batches under way at once, in
    whatever order they come. Here a copy normalises and observes, and `move` is called with all of an update.

    Args:
        backbone: Its running statistics are moved.
        stages: Whose norms adapt.
    """

    def __init__(self, backbone: Backbone, stages: Sequence[str]) -> None:
        self._stages = tuple(stages)
        self._norms = _norms(backbone, self._stages)
        self._seen = threading.local()

    @property
    def statistics(self) -> list[Tensor]:
        """Running means and variances, `(C,)` each."""
        return [tensor for norm in self._norms for tensor in _statistics(norm)]

    def without_statistics(self, backbone: Backbone) -> Backbone:
        """A copy that shares every parameter, in which these norms know no statistics but the batch's.

        It, and copies of it, are what is observed.
        """
        shared = {id(tensor): tensor for tensor in (*backbone.parameters(), *backbone.buffers())}
        bare = copy.deepcopy(backbone, dict[int, object](shared))
        for index, norm in enumerate(_norms(bare, self._stages)):
            norm.running_mean = norm.running_var = None
            norm.track_running_stats = False
            norm.register_forward_pre_hook(self._hook(index))
        return bare

    @contextmanager
    def observing(self, num_images: int) -> Iterator[Observed]:
        """Observe the forward passes of this thread."""
        observed = Observed(num_images, [(torch.empty(0), torch.empty(0))] * len(self._norms))
        self._seen.now = observed
        try:
            yield observed
        finally:
            self._seen.now = None

    def move(self, observed: Sequence[Observed]) -> None:
        """Move the running statistics towards the mean of what the micro-batches of one update saw."""
        total = sum(one.num_images for one in observed)
        for index, norm in enumerate(self._norms):
            momentum = _DEFAULT_MOMENTUM if norm.momentum is None else norm.momentum
            for part, running in enumerate(_statistics(norm)):
                terms = [one.moments[index][part] * (one.num_images / total) for one in observed]
                running.lerp_(torch.stack(terms).sum(dim=0), momentum)

    def _hook(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def observe(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            given = inputs[0].detach().float()
            if given.numel() == given.shape[1]:
                size = "×".join(map(str, given.shape[2:]))
                raise ValueError(
                    "fine_tune.batch_norm: adapt needs more than one value a channel to normalise by, got one image of "
                    f"{size}; take a larger normalize.size, or fine_tune.batch_size and micro_batch_size that leave no "
                    "image alone"
                )
            if (now := getattr(self._seen, "now", None)) is not None:
                variance, mean = torch.var_mean(given, dim=[axis for axis in range(given.ndim) if axis != 1])
                now.moments[index] = (mean, variance)

        return observe


def _norms(backbone: Backbone, stages: Sequence[str]) -> list[_BatchNorm]:
    return [
        module
        for stage in stages
        for module in backbone.stages[stage].modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var
