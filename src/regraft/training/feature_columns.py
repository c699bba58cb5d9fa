"""Which columns of the features are whose, and the features of some stages, images and views.

Knows arrays and the stages' widths alone: no network is loaded for it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


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


def features_by_view(
    features: NDArray[np.float32], view_features: NDArray[np.float32] | None
) -> list[NDArray[np.float32]]:
    """Features `(N, D)` of each view, from those of the images as they are and `(V * N, D)` of further views."""
    if view_features is None or not len(view_features):
        return [features]
    return [features, *np.split(view_features, len(view_features) // len(features))]


def mean_of_views(
    views: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    feature_dims: Mapping[str, int],
    stages: Sequence[str],
) -> NDArray[np.float32]:
    """As `select_stages`, of the mean over the features `(N, D)` of each view, summed in their order."""
    first, *others = views
    total = select_stages(first, rows, feature_dims, stages)
    for features in others:
        total += select_stages(features, rows, feature_dims, stages)
    total /= len(views)
    return total
