"""Standardised rows of features, held as one array where they are few, else read and standardised block by block.

Knows arrays alone: neither whose features they are nor what is learnt from them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AnyFloats = NDArray[np.floating[Any]]  # float32 or float64

MOST_BYTES_HELD = 2**27  # of all rows in float64: 13,000 of 1,280 features; held, they take half the time
_BLOCK = 256  # rows, whose copies stay in the processor's cache; or columns


class FeatureSource(Protocol):
    """Features `(N, D)` float32: an array, or what reads them as they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N and D."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Ints, /) -> NDArray[np.float32]:
        """Some of them, a copy that whoever asked may write into."""


@dataclass(frozen=True)
class StandardisedRows:
    """Rows of features, less a mean and over a scale; computed anew each time that they are gone through.

    Attributes:
        features: `(N, D)` float32.
        rows: `(R,)` which of them, in which order.
        mean: `(D,)`.
        scale: `(D,)`.
        dtype: float32 or float64, of the arithmetic too.
    """

    features: FeatureSource
    rows: Ints
    mean: Floats
    scale: Floats
    dtype: type[np.float32] | type[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """R and D."""
        return len(self.rows), self.features.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Ints) -> Self:
        """Some of the rows; nothing is read yet."""
        return replace(self, rows=self.rows[rows])

    def blocks(self) -> Iterator[tuple[slice, AnyFloats]]:
        """A few rows `(B, D)` at a time, in order, and which they are."""
        mean: AnyFloats = self.mean.astype(self.dtype)
        scale: AnyFloats = self.scale.astype(self.dtype)
        for start in range(0, len(self.rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            block: AnyFloats = self.features[self.rows[part]].astype(self.dtype, copy=False)
            block -= mean
            block /= scale
            yield part, block

    def whole(self) -> AnyFloats:
        """All of them as one array."""
        array = np.empty(self.shape, self.dtype)
        for part, block in self.blocks():
            array[part] = block
        return array


Rows = AnyFloats | StandardisedRows


def blocks_of(rows: Rows) -> Iterator[tuple[slice, AnyFloats]]:
    """The rows in order, and which they are: an array as one block."""
    if isinstance(rows, StandardisedRows):
        yield from rows.blocks()
    else:
        yield slice(None), rows


def held_if_few(rows: Rows) -> Rows:
    """The rows as an array unless they are many. The values are the same; sums over them are rounded differently."""
    return rows.whole() if isinstance(rows, StandardisedRows) and not _are_many(*rows.shape) else rows


def mean_and_variance(features: FeatureSource, rows: Ints) -> tuple[Floats, Floats]:
    """Mean and variance `(D,)` float64 of every feature over some rows, at least one."""
    num_features = features.shape[1]
    if not _are_many(len(rows), num_features):
        held = features[rows]
        columns = [held[:, start : start + _BLOCK] for start in range(0, num_features, _BLOCK)]
        variance = np.concatenate([some.var(axis=0, dtype=np.float64) for some in columns])
        return held.mean(axis=0, dtype=np.float64), variance
    as_they_are = StandardisedRows(features, rows, np.zeros(num_features), np.ones(num_features), np.float64)
    total: Floats = sum((block.sum(axis=0) for _, block in as_they_are.blocks()), np.zeros(num_features))
    centred = replace(as_they_are, mean=total / len(rows))
    squares: Floats = sum(((block**2).sum(axis=0) for _, block in centred.blocks()), np.zeros(num_features))
    return centred.mean, squares / len(rows)


def _are_many(num_rows: int, num_features: int) -> bool:
    """Whether so many rows are not to be held whole."""
    return num_rows * num_features * np.dtype(np.float64).itemsize > MOST_BYTES_HELD
