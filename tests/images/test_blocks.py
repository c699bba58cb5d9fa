"""Arrays computed by blocks of rows."""

import numpy as np
import pytest

from regraft.images.blocks import ArrayBlocks


def test_blocks_are_the_array_and_the_last_may_be_shorter() -> None:
    array = np.arange(14, dtype=np.int64).reshape(7, 2)
    blocks = list(ArrayBlocks((7, 2), "int64", 3, lambda start, stop: array[start:stop]))
    assert [len(block) for block in blocks] == [3, 3, 1]
    assert np.array_equal(np.concatenate(blocks), array)


def test_no_rows_are_no_blocks() -> None:
    assert list(ArrayBlocks((0, 2), "int64", 3, lambda start, stop: np.zeros((stop - start, 2)))) == []


def test_a_block_of_another_shape_or_dtype_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"rows 0 to 2 came as float64 \(2, 2\), declared are uint8 \(2, 2\)"
    ):
        list(ArrayBlocks((2, 2), "uint8", 2, lambda start, stop: np.zeros((2, 2))))
    with pytest.raises(ValueError, match="at least 1"):
        ArrayBlocks((2, 2), "uint8", 0, lambda start, stop: np.zeros((2, 2)))
