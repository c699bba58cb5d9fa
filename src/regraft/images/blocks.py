"""Blocks: an array too large to hold, computed lazily by blocks of rows.

Knows neither what the rows are nor where they are written.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ArrayBlocks:
    """An array whose rows are computed when they are asked for, so that saving it streams.

    Attributes:
        shape: Of the whole array, rows first.
        dtype: A NumPy dtype name, such as `uint8`.
        block_rows: Rows to compute at once; the last block may be shorter.
        compute: Rows `start` to `stop` (exclusive) as an array of shape `(stop - start, *shape[1:])`.
    """

    shape: tuple[int, ...]
    dtype: str
    block_rows: int
    compute: Callable[[int, int], np.ndarray]

    def __post_init__(self) -> None:
        if self.block_rows < 1:
            raise ValueError(f"block_rows must be at least 1, got {self.block_rows}")

    @property
    def num_bytes(self) -> int:
        """Of the whole array."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks in row order; together they are the array.

        Raises:
            ValueError: If a computed block has not the declared shape and dtype.
        """
        return self.after(0)

    def after(self, num_rows: int) -> Iterator[np.ndarray]:
        """Blocks in row order but for the first rows, which are there already.

        Args:
            num_rows: A multiple of `block_rows`, or all rows.

        Raises:
            ValueError: If a computed block has not the declared shape and dtype.
        """
        for start in range(num_rows, self.shape[0], self.block_rows):
            stop = min(start + self.block_rows, self.shape[0])
            block = self.compute(start, stop)
            expected = (stop - start, *self.shape[1:])
            if block.shape != expected or block.dtype != np.dtype(self.dtype):
                raise ValueError(
                    f"rows {start} to {stop} came as {block.dtype} {block.shape}, declared are {self.dtype} "
                    f"{expected}"
                )
            yield block
