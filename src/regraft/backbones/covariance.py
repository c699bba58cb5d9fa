"""How the channels of an activation vary together over the positions, as numbers that distances mean something between.

Knows tensors alone: no network, no head.
"""

import hashlib
import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

MOST_CHANNELS = 192  # wider activations are projected: features grow with the square, time with the cube
_ITERATIONS = 5  # as in the source; more bring no accuracy
_LEAST_TRACE = 1e-8  # under the root, so that an activation that is the same everywhere has a gradient


def root_of_covariance(channels: Tensor) -> Tensor:
    """The square root of the channels' covariance over the positions, its upper triangle.

    The root tames the few largest eigenvalues, which else hide all others. It is approximated by Newton and Schulz's
    iteration: products of matrices alone, with a gradient that equal eigenvalues do not break.

    Args:
        channels: `(B, C, P)` float32, P positions.

    Returns:
        `(B, D)`, D = c (c + 1) / 2 with c = min(C, 192): of more channels, 192 sums of all with random signs are taken.

    Source:
        Li et al. 2018, arXiv:1712.01034; the signs: Achlioptas 2003, doi:10.1016/S0022-0000(03)00025-4.
    """
    channels = channels - channels.mean(dim=2, keepdim=True)
    if channels.shape[1] > MOST_CHANNELS:
        channels = random_signs(channels.shape[1]).to(channels.device) @ channels
    covariance = channels @ channels.transpose(1, 2) / channels.shape[2]
    trace = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None] + _LEAST_TRACE
    identity = torch.eye(covariance.shape[1], dtype=covariance.dtype, device=covariance.device)
    root, inverse = covariance / trace, identity.expand_as(covariance)
    for _ in range(_ITERATIONS):
        factor = 1.5 * identity - 0.5 * (inverse @ root)
        root, inverse = root @ factor, factor @ inverse
    rows, columns = torch.triu_indices(*identity.shape, device=covariance.device)
    return (root * trace.sqrt())[:, rows, columns]


@lru_cache(maxsize=16)
def random_signs(num_channels: int) -> Tensor:
    """`(192, C)` float32 of ±1 / √C: the same on every machine and with every version of any library."""
    digest = hashlib.shake_256(f"{num_channels} channels".encode())
    num_signs = MOST_CHANNELS * num_channels
    bits = np.unpackbits(np.frombuffer(digest.digest(-(-num_signs // 8)), np.uint8))[:num_signs]
    signs = 2.0 * torch.from_numpy(bits.reshape(MOST_CHANNELS, num_channels)).float() - 1.0
    return signs / math.sqrt(num_channels)
