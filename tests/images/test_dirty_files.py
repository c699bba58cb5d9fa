"""Every file of the collection comes out as it must, and no damage to one does harm."""

from pathlib import Path

import numpy as np
import pytest
from dirty_files import DirtyFile, dirty_files, table
from fuzzing import damaged_files, fault_of

from regraft.images.colour import stays_grey
from regraft.images.decoding import UnreadableImageError, decode

FILES = dirty_files()
PAGE = Path(__file__).parents[2] / "docs" / "images-read.md"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_dirty_file_is_read_as_it_must_be_or_refused_with_its_reason(file: DirtyFile) -> None:
    if file.reason is not None:
        with pytest.raises(UnreadableImageError) as caught:
            decode(file.data)
        assert caught.value.reason == file.reason
        return
    decoded = decode(file.data)
    assert decoded.image.mode == "RGB"
    assert tuple(map(str, decoded.ways)) == file.ways
    assert file.pixels is not None
    assert decoded.image.size == file.pixels.shape[1::-1]
    assert np.abs(np.asarray(decoded.image).astype(int) - file.pixels).max() <= file.tolerance


def test_grey_left_in_one_band_is_the_same_picture() -> None:
    read = [file for file in FILES if file.reason is None]
    kept = [decode(file.data, keep_grey=True) for file in read]
    modes = {file.name: one.image.mode for file, one in zip(read, kept, strict=True)}
    assert sorted(set(modes.values())) == ["L", "RGB"], modes
    for file, one in zip(read, kept, strict=True):
        expected = decode(file.data)
        assert one.image.convert("RGB").tobytes() == expected.image.tobytes(), file.name
        assert one.ways == expected.ways, file.name


def test_what_the_index_says_tells_which_images_stay_grey() -> None:
    for file in FILES:
        if file.reason is None:
            read = decode(file.data, keep_grey=True)
            read_as = "; ".join(map(str, read.ways))
            assert stays_grey(read.mode, read_as) == (read.image.mode == "L"), (file.name, read.mode, read_as)


def test_names_in_the_collection_are_used_once() -> None:
    assert len({file.name for file in FILES}) == len(FILES) == len({(f.group, f.what) for f in FILES})


def test_the_page_of_the_docs_tells_what_comes_of_the_collection() -> None:
    assert table() in PAGE.read_text("utf-8"), "python tests/images/dirty_files.py --table prints it anew"


def test_damaged_files_give_an_image_or_a_reason_within_seconds() -> None:
    faults = [(name, fault) for name, data in damaged_files(0, 600) if (fault := fault_of(data)[0])]
    assert not faults


def test_the_fuzzer_sees_what_is_no_picture_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: bytes) -> None:
        raise KeyError(data)

    monkeypatch.setattr("fuzzing.decode", crash)
    assert fault_of(b"x")[:2] == ("KeyError: b'x'", "crashed")
