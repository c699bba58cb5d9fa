"""Arrays computed by blocks of rows."""

import sys
from pathlib import Path

import numpy as np
import pytest

from regraft.images.blocks import ArrayBlocks, RowsOf, release_pages


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


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_that_were_read_are_given_back_and_can_be_read_again(tmp_path: Path) -> None:
    size = 64 * 2**20
    np.save(tmp_path / "array.npy", np.full(size, 7, np.uint8))
    array = np.load(tmp_path / "array.npy", mmap_mode="r")
    assert array.sum(dtype=np.int64) == 7 * size
    before = resident_bytes()
    release_pages(array[10:])
    assert before - resident_bytes() > size // 2
    assert array.sum(dtype=np.int64) == 7 * size


def test_what_is_not_read_only_keeps_its_pages(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(9, np.uint8))
    for changed in (np.load(tmp_path / "array.npy", mmap_mode="c"), np.zeros(9, np.uint8)):
        changed[3] = 5
        release_pages(changed)
        assert changed[3] == 5


def test_some_rows_are_read_as_of_an_array(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (9, 2, 3), np.uint8)
    np.save(tmp_path / "array.npy", whole)
    rows = np.array([4, 0, 8, 8, 1])
    for array in (whole, np.load(tmp_path / "array.npy", mmap_mode="r")):
        some = RowsOf(array, rows)
        assert (len(some), some.shape) == (5, (5, 2, 3))
        assert np.array_equal(some[1:3], whole[[0, 8]])
        assert np.array_equal(some[np.array([3, 3, 0])], whole[[8, 8, 4]])
        taken = some[:]
        taken[:] = 0
        assert np.array_equal(some[:], whole[rows])
        assert taken.flags.c_contiguous
