"""From an activation, a map or tokens, to one vector an image: what heads see of a stage.

Knows tensors alone: no network, no head.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from regraft.backbones.covariance import root_of_covariance
from regraft.backbones.mean_over_positions import mean_over_positions

Pooling = Literal["mean", "mean_and_deviation", "mean_and_covariance", "mean_and_grid"]
GRID = 7  # places a side: the last map of most networks, at the size of their pretraining
_LEAST_VARIANCE = 1e-8  # under the root, so that a channel that is the same everywhere has a gradient


def pool(activation: Tensor, pooling: Pooling, *, has_token: bool) -> Tensor:
    """Reduce an activation to one vector an image, in float32 from any type.

    Args:
        activation: `(B, C, H, W)` or `(B, N, D)` or `(B, D)`, as a stage gives it.
        pooling: What of it is kept: each channel's mean over the positions; its deviation too, which tells a channel
            that is strong in one place from one that is weak everywhere; or the root of all channels' covariance,
            which tells what occurs together; or its means over a grid of 7 × 7 places, which tell where.
        has_token: The first of the tokens stands for all, and is taken for their mean.

    Returns:
        `(B, D)`: as the original network does before its classifier, the mean over positions, or the class token
        where the network has one; behind it the deviation over positions, the root of the covariance, or the means over
        places, channel by channel, row by row.

    Raises:
        ValueError: If it has another number of axes, or tokens that are no square are to be put on a grid.
    """
    if activation.ndim == 2:
        return activation.float()
    if activation.ndim not in (3, 4):
        raise ValueError(f"an activation has 2, 3 or 4 axes, got shape {tuple(activation.shape)}")
    if activation.ndim == 4 and activation.dtype in (torch.bfloat16, torch.float16) and pooling == "mean":
        return mean_over_positions(activation)
    activation = activation.float()
    if activation.ndim == 3 and has_token:
        token, activation = activation[:, 0], activation[:, 1:]
        mean = token if pooling == "mean" else activation.mean(dim=1)
    elif activation.ndim == 3:
        token = mean = activation.mean(dim=1)
    else:
        token = mean = functional.adaptive_avg_pool2d(activation, 1).flatten(1)
    if pooling == "mean":
        return token
    if pooling == "mean_and_covariance":
        channels = activation.transpose(1, 2) if activation.ndim == 3 else activation.flatten(2)
        return torch.cat([token, root_of_covariance(channels)], dim=1)
    if pooling == "mean_and_grid":
        return torch.cat([token, _grid(activation)], dim=1)
    if activation.ndim == 3:
        variance = (activation - mean[:, None]).square().mean(dim=1)
    else:  # var() takes three times as long
        squares = (activation - mean[:, :, None, None]).square()
        variance = functional.adaptive_avg_pool2d(squares, 1).flatten(1)
    return torch.cat([token, (variance + _LEAST_VARIANCE).sqrt()], dim=1)


def _grid(activation: Tensor) -> Tensor:
    """`(B, C * 49)` means over places of a map, or of tokens without a class token."""
    if activation.ndim == 3:
        num_tokens = activation.shape[1]
        side = math.isqrt(num_tokens)
        if side * side != num_tokens:
            raise ValueError(
                f"{num_tokens} tokens are no square, so they have no grid: pool their mean (build_backbone.pooling)"
            )
        activation = activation.transpose(1, 2).reshape(*activation.shape[::2], side, side)
    return functional.adaptive_avg_pool2d(activation, GRID).flatten(1)
