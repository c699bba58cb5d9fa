"""Frozen features: one forward pass an image, the pooled output of every stage kept.

Knows neither labels nor heads; images come in as prepared pixels.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.backbones.backbone import Backbone
from regraft.backbones.memory import require_room_for_pass
from regraft.classifier.classifier import normalize_pixels
from regraft.classifier.views import apply_view
from regraft.images.blocks import ArrayBlocks
from regraft.images.preprocessing import Preprocessing
from regraft.training.frozen import FrozenPasses, frozen_passes
from regraft.training.reproducibility import Compute, map_streams

_BLOCK_BATCHES = 16


def extract_features(
    backbone: Backbone,
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    compute: Compute,
    views: Sequence[int] = (0,),
) -> ArrayBlocks:
    """Pooled features of every stage up to the backbone's cut, for every image.

    Args:
        backbone: Frozen; used in evaluation mode.
        pixels: `(N, S, S, 3 or 1)` uint8.
        preprocessing: Mean and std of the backbone's pretraining.
        batch_size: Images a forward pass, all of one view. Who is in a batch depends on nothing else.
        compute: Device, precision and streams.
        views: Numbers of the views that are computed, see `apply_view`; 0 is the image as it is.

    Returns:
        `(V * N, D)` float32 computed block by block, D the sum of the stages' feature sizes, stages side by side in
        depth order (`stage_columns` says which columns are whose); all images of the first view in the order of
        `pixels`, then those of the next.

    Raises:
        ValueError: With the first block, if a pass needs more memory than there is, or the network cannot take images
            of this size.
    """
    widths, num_images = backbone.feature_dims, len(pixels)

    @cache
    def frozen() -> FrozenPasses:
        require_room_for_pass(
            backbone.spec,
            cut=backbone.cut,
            size=pixels.shape[1],
            batch_size=min(batch_size, num_images),
            dtype=compute.fast_dtype,
            device=compute.device,
        )
        return frozen_passes(
            backbone, pixels, preprocessing, batch_size=min(batch_size, num_images), compute=compute
        )

    def compute_batch(rows: range) -> NDArray[np.float32]:
        view, first = divmod(rows.start, num_images)
        images = pixels[first : first + len(rows)]
        return _features_of(frozen(), images, views[view], preprocessing, compute)

    def compute_block(start: int, stop: int) -> NDArray[np.float32]:
        frozen()  # once, before several streams ask for it
        batches = [
            range(first, min(first + batch_size, end))
            for begin, end in _runs(start, stop, num_images)
            for first in range(begin, end, batch_size)
        ]
        return np.concatenate(list(map_streams(compute_batch, batches, compute=compute)))

    return ArrayBlocks(
        shape=(len(views) * num_images, sum(widths.values())),
        dtype="float32",
        block_rows=batch_size * _BLOCK_BATCHES,
        compute=compute_block,
    )


def _runs(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Rows `start` to `stop`, parted at multiples of a length."""
    ends = [*range((start // length + 1) * length, stop, length), stop]
    return list(zip([start, *ends], ends, strict=False))


def _features_of(
    passes: FrozenPasses,
    pixels: NDArray[np.uint8],
    view: int,
    preprocessing: Preprocessing,
    compute: Compute,
) -> NDArray[np.float32]:
    with torch.inference_mode():
        images = normalize_pixels(torch.tensor(pixels, device=compute.device), preprocessing)
        pooled = passes.features(apply_view(images, view))
        return torch.cat(list(pooled.values()), dim=1).cpu().numpy()
