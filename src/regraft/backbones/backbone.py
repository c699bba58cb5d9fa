"""A pretrained network without its classifier, run stage by stage up to its cut.

Knows nothing of heads, training or where weights come from: it is handed a state dict.
"""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, KeysView, Mapping
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn

from regraft.backbones.architectures import build_on_meta
from regraft.backbones.checkpoints import hash_tensors
from regraft.backbones.networks import build_network
from regraft.backbones.pooling import Pooling, pool
from regraft.backbones.spec import BackboneSpec, unknown_name
from regraft.backbones.weights import WeightsReceipt
from regraft.backbones.zoo import get_spec


class StageDict(nn.ModuleDict):
    """Stages by name, in depth order; PyTorch allows no dot in a name, so inside `blocks.0` is `blocks_0`."""

    def __init__(self, stages: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._names = tuple(stages)
        for name, stage in stages.items():
            self.add_module(_inner(name), stage)

    def __getitem__(self, key: str) -> nn.Module:
        return super().__getitem__(_inner(key))

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def keys(self) -> KeysView[str]:
        """Stage names, with their dots."""
        return dict.fromkeys(self._names).keys()

    def items(self) -> ItemsView[str, nn.Module]:
        """Stage names, with their dots, and stages."""
        return {name: self[name] for name in self._names}.items()


class Backbone(nn.Module):
    """The stages of a network up to its cut; every original parameter up to there is in exactly one of them.

    Attributes:
        spec: The row of the zoo.
        stages: The stages kept, by name, in depth order.
        feature_dims: Length of the pooled features of each stage kept, in depth order.
        receipt: Where the weights came from; None where nobody said.
        pooling: What of an activation is kept: each channel's mean over the positions; its deviation too, which
            tells a channel that is strong in one place from one that is weak everywhere; or the root of all channels'
            covariance, which tells what occurs together; or its means over a grid of places, which tell where.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        stages: Mapping[str, nn.Module],
        feature_dims: Mapping[str, int],
        receipt: WeightsReceipt | None = None,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__()
        self.spec = spec
        self.receipt = receipt
        self.pooling: Pooling = pooling
        self.stages = StageDict(stages)
        self.feature_dims = {name: feature_dims[name] for name in stages}

    @property
    def cut(self) -> str:
        """The last stage kept."""
        return next(reversed(self.feature_dims))

    @property
    def feature_dim(self) -> int:
        """Length of the pooled features at the cut."""
        return self.feature_dims[self.cut]

    def forward(self, images: Tensor) -> Tensor:
        """The activation at the cut.

        Args:
            images: `(B, 3, H, W)` float, prepared as the weights' `InputContract` says.

        Returns:
            A map `(B, C, H', W')`, tokens `(B, N, D)` with the class token first, or a vector `(B, D)`.

        Raises:
            ValueError: If the network cannot take images of this size.
        """
        return self.forward_range(images, None, None)

    def forward_range(self, activation: Tensor, start: str | None, stop: str | None) -> Tensor:
        """Run some stages one after another.

        Args:
            activation: What the stage before `start` gave; images if `start` is the first. It is not changed.
            start: The first stage to run; None for the first there is.
            stop: The last stage to run; None for the cut.

        Returns:
            The activation after `stop`.

        Raises:
            ValueError: If there is no such stage up to the cut, `stop` lies before `start`, or the network
                cannot take images of this size.
        """
        names = tuple(self.stages)
        first = 0 if start is None else self._depth(start)
        last = len(names) - 1 if stop is None else self._depth(stop)
        if last < first:
            raise ValueError(f"stage {stop} lies before {start}; in depth order: {', '.join(names)}")
        if first == 0:
            self.spec.check_size(*activation.shape[-2:])
        for name in names[first : last + 1]:
            activation = self.stages[name](activation)
        return activation

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """Pooled features of every stage up to the cut, in one pass.

        Args:
            images: `(B, 3, H, W)` float, prepared as the weights' `InputContract` says.

        Returns:
            `(B, D)` float32 a stage, in depth order; D is in `feature_dims`.

        Raises:
            ValueError: If the network cannot take images of this size.
        """
        return self.pooled_range(images, None, None, wanted=self.feature_dims)[1]

    def pooled_range(
        self, activation: Tensor, start: str | None, stop: str | None, *, wanted: Collection[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run some stages one after another, and pool what some of them give on the way.

        Args:
            activation: As for `forward_range`.
            start: The first stage to run; None for the first there is.
            stop: The last stage to run; None for the cut.
            wanted: Stages whose pooled features are kept.

        Returns:
            The activation after `stop`; and `(B, D)` float32 a stage that was run and is wanted, in depth order.

        Raises:
            ValueError: As `forward_range`.
        """
        names = tuple(self.stages)
        first = 0 if start is None else self._depth(start)
        last = len(names) - 1 if stop is None else self._depth(stop)
        pooled = {}
        for name in names[first : last + 1]:
            activation = self.forward_range(activation, name, name)
            if name in wanted:
                pooled[name] = self.pool(activation)
        return activation, pooled

    def up_to(self, stage: str) -> Self:
        """The same backbone cut after a stage: its modules are shared. Itself where that is its cut.

        Raises:
            ValueError: If there is no such stage up to the cut.
        """
        if stage == self.cut:
            return self
        kept = tuple(self.stages)[: self._depth(stage) + 1]
        shorter = type(self)(
            self.spec,
            {name: self.stages[name] for name in kept},
            self.feature_dims,
            self.receipt,
            self.pooling,
        )
        shorter.training = self.training
        shorter.stages.training = self.training
        return shorter

    def pool(self, activation: Tensor) -> Tensor:
        """See `pooling.pool`."""
        return pool(activation, self.pooling, has_token=self.spec.pooling == "class_token")

    def _depth(self, stage: str) -> int:
        names = tuple(self.stages)
        if stage not in names:
            raise unknown_name(f"stage of {self.spec.name} up to its cut", stage, names)
        return names.index(stage)


def build_backbone(
    name: str,
    *,
    weights: Mapping[str, Tensor] | None,
    cut: str | None,
    receipt: WeightsReceipt | None = None,
    pooling: Pooling = "mean",
) -> Backbone:
    """A backbone on the CPU in evaluation mode.

    Args:
        name: A name of the zoo, `timm:<any name of timm>` or `torchvision:<any of torchvision.models>`.
        weights: As `load_weights` gives them, on the original network's keys; copied. None for
            zeros, where `load_state_dict` is to follow.
        cut: The last stage kept; None keeps all.
        receipt: Kept with the backbone.
        pooling: What of an activation is kept.

    Raises:
        ValueError: If there is no such backbone or stage, or too little memory for it.
        WeightsError: If the weights belong to another architecture.
    """
    spec = get_spec(name)
    kept = spec.stages_up_to(cut)
    stages = spec.split(build_network(spec, weights))
    widths = feature_dims_of(spec, pooling)
    return Backbone(spec, {stage: stages[stage] for stage in kept}, widths, receipt, pooling).eval()


def freeze(backbone: nn.Module) -> None:
    """No gradients for its parameters, evaluation mode for its norms; `train()` undoes the latter."""
    backbone.requires_grad_(False)
    backbone.eval()


def tensor_digest(module: nn.Module) -> str:
    """The sha256 of all parameters and buffers with names, types and shapes, in name order: 64 hex digits.

    The same on every device. Equal before and after: nothing moved.
    """
    return hash_tensors([*module.named_parameters(), *module.named_buffers()])


@lru_cache(maxsize=64)
def feature_dims_of(spec: BackboneSpec, pooling: Pooling) -> dict[str, int]:
    """Pooled feature length of every stage, from a pass without memory or arithmetic."""
    model = build_on_meta(spec)
    stages = spec.split(model)
    size = spec.fixed_size or max(224, spec.min_size)
    backbone = Backbone(spec, stages, dict.fromkeys(stages, 0), pooling=pooling).eval()
    features = backbone.forward_features(torch.empty(1, 3, size, size, device="meta"))
    return {name: pooled.shape[1] for name, pooled in features.items()}


def _inner(name: str) -> str:
    return name.replace(".", "_")
