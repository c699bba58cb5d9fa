"""Small modules for what a network does in its own `forward` between its modules, or differently from others.

Know no network by name, and hold no parameters but those they are handed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class InceptionInput(nn.Module):
    """From ImageNet's mean and std to the 0.5 that Inception was trained with."""

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` to the same, as `Inception3._transform_input` does."""
        constants = ((0.229, 0.485), (0.224, 0.456), (0.225, 0.406))
        channels = [
            images[:, index] * (std / 0.5) + (mean - 0.5) / 0.5 for index, (std, mean) in enumerate(constants)
        ]
        return torch.stack(channels, dim=1)


class Tokens(nn.Module):
    """A map of patches `(B, D, h, w)` to tokens `(B, N, D)`: class token, registers, patches, plus positions.

    Args:
        patches_only: Positions are of the patches alone, not of class token and registers.
        grid: Rows and columns of the positions, if they are to be resampled to the patches that come.
    """

    def __init__(
        self,
        *,
        class_token: nn.Parameter | None,
        positions: nn.Parameter | None,
        after: nn.Module,
        registers: nn.Parameter | None = None,
        patches_only: bool = False,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.class_token, self.registers, self.positions = class_token, registers, positions
        self.after = after
        self.patches_only = patches_only
        self.grid = grid

    def forward(self, patches: Tensor) -> Tensor:
        """`(B, D, h, w)` to `(B, N, D)`."""
        tokens = patches.flatten(2).transpose(1, 2)
        leading = (self.class_token, self.registers)
        prefix = [token.expand(len(tokens), -1, -1) for token in leading if token is not None]
        positions = self._positions(patches, sum(token.shape[1] for token in prefix))
        if self.patches_only and positions is not None:
            tokens = tokens + positions
        tokens = torch.cat([*prefix, tokens], dim=1)
        if not self.patches_only and positions is not None:
            tokens = tokens + positions
        result: Tensor = self.after(tokens)
        return result

    def _positions(self, patches: Tensor, num_prefix: int) -> Tensor | None:
        if self.positions is None or self.grid is None:
            return self.positions
        from timm.layers.pos_embed import resample_abs_pos_embed

        resampled: Tensor = resample_abs_pos_embed(
            self.positions,
            new_size=list(patches.shape[-2:]),
            old_size=list(self.grid),
            num_prefix_tokens=0 if self.patches_only else num_prefix,
        )
        return resampled


class PatchMap(nn.Module):
    """timm's patch embedding, giving a map `(B, D, h, w)` in whichever format it computes."""

    def __init__(self, patches: nn.Module, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.patches = patches
        self.grid = grid

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` to `(B, D, h, w)`."""
        embedded: Tensor = self.patches(images)
        if embedded.ndim == 4:
            return embedded.permute(0, 3, 1, 2)
        return embedded.transpose(1, 2).reshape(len(embedded), -1, *self.grid)


class TokenPooling(nn.Module):
    """Tokens `(B, N, D)` to the vector `(B, D)` that timm gives to the classifier."""

    def __init__(self, how: str, num_skipped: int, attention: nn.Module | None, norm: nn.Module) -> None:
        super().__init__()
        self.how, self.num_skipped = how, num_skipped
        self.attention, self.norm = attention, norm

    def forward(self, tokens: Tensor) -> Tensor:
        """`(B, N, D)` to `(B, D)`."""
        if self.how == "token":
            pooled = tokens[:, 0]
        elif self.attention is not None:
            pooled = self.attention(tokens[:, self.num_skipped :])
        else:
            pooled = tokens[:, self.num_skipped :].mean(dim=1)
        result: Tensor = self.norm(pooled)
        return result


class ChannelsLast(nn.Module):
    """A stage that computes on `(B, H, W, C)`, between maps `(B, C, H, W)`; the permutations are views."""

    def __init__(self, inner: nn.Module, *, is_first: bool) -> None:
        super().__init__()
        self.inner = inner
        self.is_first = is_first

    def forward(self, activation: Tensor) -> Tensor:
        """Images or `(B, C, H, W)` to `(B, C, H, W)`."""
        result: Tensor = self.inner(activation if self.is_first else activation.permute(0, 2, 3, 1))
        return result.permute(0, 3, 1, 2)
