"""Which columns of the features are whose, and the features of some stages, images and views.

Knows arrays and the stages' widths alone: no network is loaded for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 256  # rows


def stage_columns(feature_dims: Mapping[str, int]) -> dict[str, slice]:
    """Which columns of the features belong to which stage; `feature_dims` in depth order."""
    stops = np.cumsum(list(feature_dims.values())).tolist()
    return {
        stage: slice(stop - width, stop)
        for (stage, width), stop in zip(feature_dims.items(), stops, strict=True)
    }


@dataclass(frozen=True)
class SelectedFeatures:
    """Features of some stages, images and views that are copied out as they are asked for.

    Attributes:
        shape: `(R, D)`.
        read: Gives those of some rows, `(n, D)` float32, a copy.
    """

    shape: tuple[int, int]
    read: Callable[[NDArray[np.int64]], NDArray[np.float32]]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.read(rows)

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """A few rows at a time, and which they are: stages that are not wanted are never all in memory."""
        for start in range(0, len(self), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(self)))
            yield slice(start, start + _BLOCK), self.read(rows)

    def whole(self) -> NDArray[np.float32]:
        """All of them."""
        array = np.empty(self.shape, np.float32)
        for part, block in self.blocks():
            array[part] = block
        return array


def features_by_view(
    features: NDArray[np.float32], view_features: NDArray[np.float32] | None
) -> list[NDArray[np.float32]]:
    """Features `(N, D)` of each view, from those of the images as they are and `(V * N, D)` of further views."""
    if view_features is None or not len(view_features):
        return [features]
    return [features, *np.split(view_features, len(view_features) // len(features))]


def rows_of_each_view(
    views: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    feature_dims: Mapping[str, int],
    stages: Sequence[str],
) -> SelectedFeatures:
    """Features of some rows of each view's `(N, D)` and of some stages: `(V * R, D)`, view after view."""
    columns = _columns_of(feature_dims, stages)
    feature_dim = sum(feature_dims[name] for name in stages)

    def read(wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(views) == 1:
            return _take(views[0], rows[wanted], columns)
        view, row = np.divmod(wanted, len(rows))
        array = np.empty((len(wanted), feature_dim), np.float32)
        for number in np.unique(view):
            of_view = np.flatnonzero(view == number)
            array[of_view] = _take(views[number], rows[row[of_view]], columns)
        return array

    return SelectedFeatures((len(views) * len(rows), feature_dim), read)


def rows_of_mean(
    views: Sequence[NDArray[np.float32]],
    rows: NDArray[np.int64],
    feature_dims: Mapping[str, int],
    stages: Sequence[str],
) -> SelectedFeatures:
    """As `rows_of_each_view`, `(R, D)` of the mean over the views, summed in their order; of several it is held."""
    first, *others = (rows_of_each_view([view], rows, feature_dims, stages) for view in views)
    if not others:
        return first
    total = first.whole()
    for of_view in others:
        for part, block in of_view.blocks():
            total[part] += block
    total /= len(views)
    return SelectedFeatures(total.shape, lambda wanted: total[wanted])


def _columns_of(feature_dims: Mapping[str, int], stages: Sequence[str]) -> list[slice]:
    of_stage = stage_columns(feature_dims)
    return [of_stage[name] for name in stages]


def _take(
    features: NDArray[np.float32], rows: NDArray[np.int64], columns: Sequence[slice]
) -> NDArray[np.float32]:
    parts = [features[:, own][rows] for own in columns]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
