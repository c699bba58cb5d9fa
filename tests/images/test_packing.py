"""Packing into shards and back, and reading images where they lie in them."""

import csv
import io
import os
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regraft.images.decoding import UnreadableImageError, read_image_bytes
from regraft.images.faults import SourceError
from regraft.images.file_names import is_visible
from regraft.images.packing import Packed, pack_folder, unpack_folder
from regraft.images.shards import packed_files

NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=60
).filter(lambda name: is_visible(name) and len(name.encode()) < 200 and "shard" not in name)
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=3000), min_size=1, max_size=8
).filter(lambda files: not any(other.startswith(f"{name}/") for name in files for other in files))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def pack(folder: Path, into: Path, shard_bytes: int = 4096) -> Packed:
    into.mkdir()
    return pack_folder(folder, into, shard_bytes=shard_bytes, on_progress=lambda *_: None)


def unpack(folder: Path, into: Path) -> dict[str, bytes]:
    into.mkdir()
    unpack_folder(folder, into, on_progress=lambda *_: None)
    return contents(into)


def some_files(num: int = 60, num_bytes: int = 300) -> dict[str, bytes]:
    generator = random.Random(0)
    return {
        f"{('cats', 'dogs')[number % 2]}/{number:03d}.png": generator.randbytes(num_bytes)
        for number in range(num)
    }


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Sixty files in some shards."""
    pack(write(tmp_path / "plain", some_files()), tmp_path / "packed")
    return tmp_path / "packed"


@settings(max_examples=60, deadline=None)
@given(files=FILES, shard_bytes=st.integers(1, 20_000))
def test_every_byte_comes_back_by_any_way(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], shard_bytes: int
) -> None:
    """Unpacked, read by path, and by any program that reads tar."""
    root = tmp_path_factory.mktemp("round")
    told = pack(write(root / "plain", files), root / "packed", shard_bytes)
    assert (told.num_files, told.num_bytes) == (len(files), sum(map(len, files.values())))
    assert unpack(root / "packed", root / "again") == files
    assert {name: read_image_bytes(root / "packed" / name) for name in files} == files
    members = {}
    for shard in sorted((root / "packed").glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                members[member.name] = file.read()
    assert members == files


def test_shards_are_the_same_bytes_whatever_the_times_modes_and_order(tmp_path: Path) -> None:
    files = some_files()
    one = write(tmp_path / "one", files)
    two = write(tmp_path / "elsewhere" / "two", dict(reversed(files.items())))
    for path in two.rglob("*.png"):
        os.utime(path, (1, 1))
        path.chmod(0o600)
    pack(one, tmp_path / "packed one")
    pack(two, tmp_path / "packed two")
    assert contents(tmp_path / "packed one") == contents(tmp_path / "packed two")


def test_one_file_more_changes_few_shards(tmp_path: Path) -> None:
    """So that DVC stores and sends the others once."""
    files = some_files(2000)
    pack(write(tmp_path / "before", files), tmp_path / "packed before", 20_000)
    pack(write(tmp_path / "after", files | {"cats/100a.png": b"new"}), tmp_path / "packed after", 20_000)
    before = {data for name, data in contents(tmp_path / "packed before").items() if name.endswith(".tar")}
    after = {data for name, data in contents(tmp_path / "packed after").items() if name.endswith(".tar")}
    assert len(after) > 40
    assert len(after - before) <= 3


def test_shards_are_about_as_long_as_asked_and_a_large_file_is_alone(tmp_path: Path) -> None:
    files = some_files(1000) | {"cats/500.png": bytes(200_000)}
    pack(write(tmp_path / "plain", files), tmp_path / "packed", 50_000)
    sizes = [path.stat().st_size for path in sorted((tmp_path / "packed").glob("*.tar"))]
    assert sum(size > 120_000 for size in sizes) == 1
    assert sum(size < 25_000 for size in sizes) <= 2, "the one before the large file, and the last"
    assert sum(sizes) / len(sizes) == pytest.approx(50_000, rel=0.6)


def test_what_is_left_out_is_told_and_links_and_devices_are_refused(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", {"cats/1.png": b"x", "cats/notes.txt": b"kept", ".dvc/config": b""})
    write(plain, {"cats/.DS_Store": b"", "Thumbs.db": b""})
    (plain / "empty").mkdir()
    told = pack(plain, tmp_path / "packed")
    assert told.left_out == (".dvc", "Thumbs.db", "cats/.DS_Store", "empty/ (empty)")
    assert set(packed_files(tmp_path / "packed")) == {"cats/1.png", "cats/notes.txt"}

    (plain / "cats" / "link.png").symlink_to("1.png")
    (plain / "dogs").symlink_to(plain / "cats")
    os.mkfifo(plain / "cats" / "pipe")
    with pytest.raises(
        SourceError, match=r"2 faults.*\n- 2 links.*cats/link.png, dogs.*\n- 1 are neither.*pipe"
    ):
        pack(plain, tmp_path / "packed again")


@pytest.mark.parametrize(("files", "sentence"), [({}, "is not there"), ({".hidden": b""}, "no file to pack")])
def test_a_folder_without_files_is_refused(tmp_path: Path, files: dict[str, bytes], sentence: str) -> None:
    write(tmp_path / "plain", files)
    with pytest.raises(SourceError, match=sentence):
        pack(tmp_path / "plain", tmp_path / "packed")


def test_shards_are_not_packed_again(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds shards already"):
        pack(packed, tmp_path / "twice")


def test_threads_read_the_same_bytes(packed: Path) -> None:
    files = some_files()
    names = list(files) * 20
    random.Random(1).shuffle(names)
    with ThreadPoolExecutor(16) as executor:
        read = executor.map(lambda name: read_image_bytes(packed / name), names)
        assert list(read) == [files[name] for name in names]


def test_a_damaged_shard_is_named_and_the_rest_stays_readable(packed: Path) -> None:
    files, where = some_files(), packed_files(packed)
    damaged = where["cats/010.png"]
    data = bytearray((packed / damaged.shard).read_bytes())
    data[damaged.offset + 7] ^= 1
    (packed / damaged.shard).write_bytes(data)
    with pytest.raises(UnreadableImageError, match=rf"^{damaged.shard} is damaged at byte {damaged.offset}"):
        read_image_bytes(packed / "cats/010.png")
    assert read_image_bytes(packed / "cats/012.png") == files["cats/012.png"]


@pytest.mark.parametrize("change", ["shorter", "longer", "missing", "unknown"])
def test_shards_that_are_not_those_of_the_index_are_refused(packed: Path, change: str) -> None:
    first = packed / "shard-00000.tar"
    if change == "shorter":
        first.write_bytes(first.read_bytes()[:-1])
    elif change == "longer":
        with tarfile.open(first, "a") as tar:
            tar.addfile(tarfile.TarInfo("cats/smuggled.png"), io.BytesIO())
            tar.addfile(member := tarfile.TarInfo("cats/large.png"), io.BytesIO(bytes(20_000)))
            member.size = 20_000
            tar.addfile(member, io.BytesIO(bytes(20_000)))
    elif change == "missing":
        first.unlink()
    else:
        (packed / "shard-00099.tar").write_bytes(first.read_bytes())
    name = "shard-00099.tar" if change == "unknown" else "shard-00000.tar"
    with pytest.raises(SourceError, match=rf"not those of shards.csv.*{name}"):
        packed_files(packed)


def test_a_shard_that_ends_early_or_is_gone_is_told_for_each_image(packed: Path) -> None:
    where = packed_files(packed)["dogs/059.png"]
    shard = packed / where.shard
    shard.write_bytes(shard.read_bytes()[: where.offset + 3])
    with pytest.raises(UnreadableImageError, match=f"{where.shard} ends before byte"):
        read_image_bytes(packed / "dogs/059.png")
    shard.unlink()
    with pytest.raises(UnreadableImageError, match=f"{where.shard}: no such file"):
        read_image_bytes(packed / "dogs/059.png")


def test_a_file_that_is_in_no_shard_is_simply_not_there(packed: Path) -> None:
    with pytest.raises(UnreadableImageError, match="not there"):
        read_image_bytes(packed / "cats/nowhere.png")


def index_of(packed: Path) -> list[list[str]]:
    with (packed / "shards.csv").open(newline="") as file:
        return list(csv.reader(file))


def rewrite(packed: Path, rows: list[list[str]]) -> None:
    with (packed / "shards.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        (0, "../../outside.png", "1 names are not below the folder: '../../outside.png'"),
        (0, "/etc/passwd", "1 names are not below the folder"),
        (0, "cats/002.png", "1 names stand twice: cats/002.png"),
        (1, "../secret.tar", "1 lines are damaged: line 2"),
        (2, "-5", "1 lines are damaged: line 2"),
        (3, "1e3", "1 lines are damaged: line 2"),
        (4, "abc", "1 lines are damaged: line 2"),
    ],
)
def test_a_wrong_index_is_refused(packed: Path, column: int, value: str, sentence: str) -> None:
    """Reading it again: an index that was read before has changed since."""
    assert packed_files(packed)
    rows = index_of(packed)
    rows[1][column] = value
    rewrite(packed, rows)
    with pytest.raises(SourceError, match=sentence):
        packed_files(packed)
    with pytest.raises(UnreadableImageError, match=sentence):
        read_image_bytes(packed / "cats/000.png")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", 'name,shard,offset,num_bytes,sha256\n"x', "\xff\xfe"])
def test_a_file_that_is_no_index_is_refused(packed: Path, text: str) -> None:
    (packed / "shards.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=r"shards.csv(: the columns are| is damaged)"):
        packed_files(packed)


def test_an_index_of_other_shards_is_told_by_their_contents(tmp_path: Path, packed: Path) -> None:
    """Same names, same lengths, other bytes."""
    others = {name: bytes(reversed(data)) for name, data in some_files().items()}
    pack(write(tmp_path / "other plain", others), tmp_path / "others")
    (packed / "shards.csv").write_bytes((tmp_path / "others" / "shards.csv").read_bytes())
    with pytest.raises(SourceError, match=r"or shards\.csv is of other shards"):
        unpack(packed, tmp_path / "again")


def test_a_file_larger_than_any_image_is_not_loaded(packed: Path) -> None:
    rows = index_of(packed)
    rows[1][3] = str(2**40)
    rewrite(packed, rows)
    with pytest.raises(UnreadableImageError, match="larger than"):
        read_image_bytes(packed / rows[1][0])


def test_a_lost_index_is_told(packed: Path, tmp_path: Path) -> None:
    (packed / "shards.csv").unlink()
    attempts: list[Any] = [lambda: packed_files(packed), lambda: unpack(packed, tmp_path / "again")]
    for attempt in attempts:
        with pytest.raises(SourceError, match=r"shards.csv is not there.*or pack the images again"):
            attempt()
