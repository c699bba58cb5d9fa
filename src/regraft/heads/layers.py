"""The layers of a head: linear, a small multi-layer perceptron, or a kernel machine.

Knows the width of what comes in and how many logits go out, not what they mean or how they are fitted.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import nn


class LinearLayers(BaseModel):
    """One linear layer: with a frozen backbone this is the linear probe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["linear"] = "linear"

    def build(self, feature_dim: int, num_outputs: int) -> "nn.Sequential":
        """Layers mapping `(B, feature_dim)` to `(B, num_outputs)`, weights not yet fitted."""
        from torch import nn

        return nn.Sequential(nn.Linear(feature_dim, num_outputs))


class MlpLayers(BaseModel):
    """Hidden layers with ReLU and dropout, then a linear one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mlp"]
    hidden_sizes: tuple[Annotated[int, Field(ge=1, le=65536)], ...] = Field(default=(256,), min_length=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)

    def build(self, feature_dim: int, num_outputs: int) -> "nn.Sequential":
        """Layers mapping `(B, feature_dim)` to `(B, num_outputs)`, weights not yet fitted."""
        from torch import nn

        layers: list[nn.Module] = []
        width = feature_dim
        for size in self.hidden_sizes:
            layers += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(self.dropout)]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, num_outputs))


class KernelLayers(BaseModel):
    """Nearness to images learnt from, then a linear layer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["kernel"]
    num_centres: int = Field(default=2000, ge=1)
    gamma: float = Field(default=1.0, gt=0)

    def build(self, feature_dim: int, num_outputs: int) -> "nn.Sequential":
        """Layers mapping `(B, feature_dim)` to `(B, num_outputs)`, nothing of them fitted."""
        from torch import nn

        from regraft.heads.kernel import KernelFeatures

        return nn.Sequential(
            KernelFeatures(feature_dim, self.num_centres, self.gamma),
            nn.Linear(self.num_centres, num_outputs),
        )


AnyLayers = LinearLayers | MlpLayers | KernelLayers
HeadLayers = Annotated[AnyLayers, Field(discriminator="kind")]
