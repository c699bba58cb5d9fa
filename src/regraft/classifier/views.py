"""Views of an image that keep its label: itself, mirrored, or all flips and quarter turns.

Each is an exact permutation of pixels, so it can be cached, undone and counted; knows nothing of labels or models.
"""

from typing import Literal

import torch
from torch import Tensor

ViewSet = Literal["identity", "mirror", "flips", "dihedral"]
# What a head sees of an image's views: one after the other, or the mean of their features.
ViewsSeen = Literal["each", "mean"]

_NUM_VIEWS: dict[str, int] = {"identity": 1, "mirror": 2, "flips": 4, "dihedral": 8}


def num_views(views: ViewSet) -> int:
    """How many views a set has: identity 1, mirror (left-right) 2, flips (both axes) 4, dihedral 8."""
    return _NUM_VIEWS[views]


def apply_view(images: Tensor, view: int) -> Tensor:
    """One view of every image.

    Args:
        images: `(B, C, H, W)`, any dtype; square where `view` >= 4.
        view: 0 is the image itself, 1 mirrored left-right, 2 upside down, 3 both; 4 to 7 the same transposed.

    Returns:
        `(B, C, H, W)`, the same values in other places.

    Raises:
        ValueError: If `view` is outside [0, 8), or transposes images that are not square.
    """
    if not 0 <= view < 8:
        raise ValueError(f"view {view} is outside [0, 8)")
    if view >= 4:
        if images.shape[-1] != images.shape[-2]:
            raise ValueError(
                f"images of {tuple(images.shape[-2:])} pixels are not square and cannot be turned"
            )
        images = images.transpose(-1, -2)
    axes = [axis for bit, axis in ((1, -1), (2, -2)) if view & bit]
    return torch.flip(images, axes) if axes else images
