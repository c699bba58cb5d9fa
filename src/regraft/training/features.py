"""Frozen features: one forward pass an image, the pooled output of every stage kept.

Knows neither labels nor heads; images come in as prepared pixels.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.backbones.backbone import Backbone
from regraft.classifier.classifier import normalize_pixels
from regraft.images.blocks import ArrayBlocks
from regraft.images.preprocessing import Preprocessing
from regraft.training.frozen import frozen_network
from regraft.training.reproducibility import Compute, map_streams

_BLOCK_BATCHES = 16


def extract_features(
    backbone: Backbone,
    pixels: NDArray[np.uint8],
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    compute: Compute,
) -> ArrayBlocks:
    """Pooled features of every stage up to the backbone's cut, for every image.

    Args:
        backbone: Frozen; used in evaluation mode.
        pixels: `(N, S, S, 3)` uint8.
        preprocessing: Mean and std of the backbone's pretraining.
        batch_size: Images a forward pass. Batches start at multiples of it whatever block is computed.
        compute: Device, precision and streams.

    Returns:
        `(N, D)` float32 computed block by block, D the sum of the stages' feature sizes, stages side by side in
        depth order (`stage_columns` says which columns are whose), rows in the order of `pixels`.
    """
    widths = backbone.feature_dims

    @cache
    def frozen() -> Backbone:
        return frozen_network(backbone, size=pixels.shape[1], compute=compute)

    def compute_block(start: int, stop: int) -> NDArray[np.float32]:
        network, starts = frozen(), range(start, stop, batch_size)
        batches = map_streams(
            lambda first: _features_of(
                network, pixels[first : min(first + batch_size, stop)], preprocessing, compute
            ),
            starts,
            compute=compute,
        )
        return np.concatenate(list(batches))

    return ArrayBlocks(
        shape=(len(pixels), sum(widths.values())),
        dtype="float32",
        block_rows=batch_size * _BLOCK_BATCHES,
        compute=compute_block,
    )


def stage_columns(feature_dims: Mapping[str, int]) -> dict[str, slice]:
    """Which columns of the features belong to which stage; `feature_dims` in depth order."""
    stops = np.cumsum(list(feature_dims.values())).tolist()
    return {
        stage: slice(stop - width, stop)
        for (stage, width), stop in zip(feature_dims.items(), stops, strict=True)
    }


def select_stages(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    feature_dims: Mapping[str, int],
    stages: Sequence[str],
) -> NDArray[np.float32]:
    """Features `(rows, D)` of some rows and stages, side by side in the order of the stages; a copy."""
    of_stage = stage_columns(feature_dims)
    columns = np.concatenate([np.arange(of_stage[name].start, of_stage[name].stop) for name in stages])
    return np.ascontiguousarray(features[rows][:, columns])


def _features_of(
    backbone: Backbone, pixels: NDArray[np.uint8], preprocessing: Preprocessing, compute: Compute
) -> NDArray[np.float32]:
    with torch.inference_mode():
        images = normalize_pixels(torch.tensor(pixels, device=compute.device), preprocessing)
        pooled = backbone.forward_features(images.to(compute.fast_dtype))
        return torch.cat([features.float() for features in pooled.values()], dim=1).cpu().numpy()
