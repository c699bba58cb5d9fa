"""Arrays too large to hold: computed by blocks of rows, or read by them.

Knows neither what the rows are nor where they are written.
"""

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


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


class ReadByRows(Protocol):
    """An array, or what is read like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole, rows first."""
        ...

    def __len__(self) -> int:
        """How many rows."""
        ...

    def __getitem__(self, index: Any, /) -> Any:
        """Some rows: a slice, or their numbers."""
        ...


@dataclass(frozen=True)
class RowsOf:
    """Some rows of an array, in any order: copied when they are asked for, and not held.

    Attributes:
        array: `(N, ...)`, possibly memory-mapped.
        rows: `(M,)` which.
    """

    array: NDArray[Any]
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """`(M, ...)`."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        """M."""
        return len(self.rows)

    def __getitem__(self, index: slice | NDArray[np.int64], /) -> NDArray[Any]:
        """A copy of some of them, contiguous."""
        taken = np.ascontiguousarray(self.array[self.rows[index]])
        release_pages(self.array)  # else what was read stays in memory as long as the array does
        return taken


def release_pages(array: NDArray[Any]) -> None:
    """Give back the memory that the parts read of a read-only memory-mapped array take; any other is left alone.

    They are read again when they are asked for.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.mode != "r":
            return  # changes of it may be nowhere else
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
