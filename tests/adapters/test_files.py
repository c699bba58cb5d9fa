import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regraft.adapters.files import ContentHashes, clear_leftovers, clear_leftovers_below, written_whole


class PlantedError(Exception):
    """What goes wrong in the middle of writing."""


def write_half(path: Path) -> None:
    """Write a file, half of it, and fail."""
    with written_whole(path) as aside:
        aside.write_text("ha")
        raise PlantedError


def write_half_folder(path: Path) -> None:
    with written_whole(path) as aside:
        aside.mkdir()
        (aside / "new.txt").write_text("new")
        raise PlantedError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_file_appears_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.txt"
    with written_whole(path) as aside:
        aside.write_text("whole")
        assert not path.exists()
        assert aside.parent == path.parent, "else it could not be renamed"
    assert path.read_text() == "whole"
    assert names(path.parent) == ["file.txt"]


def test_crash_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(PlantedError):
        write_half(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_crash_leaves_no_file_where_none_was(tmp_path: Path) -> None:
    with pytest.raises(PlantedError):
        write_half(tmp_path / "file.txt")
    assert names(tmp_path) == []


def test_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "old.txt").write_text("old")
    with written_whole(path) as aside:
        (aside / "deep").mkdir(parents=True)
        (aside / "deep" / "new.txt").write_text("new")
    assert names(path / "deep") == ["new.txt"]
    assert names(tmp_path) == ["folder"]


def test_crash_leaves_the_old_folder(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(PlantedError):
        write_half_folder(path)
    assert names(path) == ["old.txt"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_killed_process_leaves_the_old_content_and_no_trouble(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "artefact"
    old = path if kind == "file" else path / "old.txt"
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")
    script = f"""
import os, signal
from pathlib import Path
from regraft.adapters.files import written_whole
with written_whole(Path({str(path)!r})) as aside:
    target = aside if {kind == "file"} else aside / "half.txt"
    target.parent.mkdir(exist_ok=True)
    target.write_text("ha")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert old.read_text() == "old"
    assert len(names(tmp_path)) == 2, "what was half written lies beside it"
    with written_whole(path) as aside:
        target = aside if kind == "file" else aside / "new.txt"
        target.parent.mkdir(exist_ok=True)
        target.write_text("new")
    assert names(tmp_path) == ["artefact"]
    assert kind == "file" or names(path) == ["new.txt"]


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    for name in ("a.npy", ".a.npy.writing", "deep/.b.json.writing", "kept.writing", ".c.writing.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".d.writing").mkdir()
    clear_leftovers(tmp_path / "a.npy")
    assert not (tmp_path / ".a.npy.writing").exists()
    assert (tmp_path / "deep" / ".b.json.writing").exists()
    clear_leftovers_below(tmp_path)
    assert names(tmp_path) == [".c.writing.txt", "a.npy", "deep", "kept.writing"]
    assert names(tmp_path / "deep") == []


def test_a_folder_that_stepped_aside_comes_back(tmp_path: Path) -> None:
    """Killed between the two renames that put a new folder in the place of an old one."""
    old, new = tmp_path / ".folder.old", tmp_path / ".folder.writing"
    old.mkdir()
    (old / "old.txt").write_text("old")
    new.mkdir()
    clear_leftovers(tmp_path / "folder")
    assert names(tmp_path) == ["folder"]
    assert names(tmp_path / "folder") == ["old.txt"]
    (tmp_path / ".folder.old").mkdir()
    clear_leftovers(tmp_path / "folder")
    assert names(tmp_path) == ["folder"], "killed after both renames"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "hashes.json"


def test_hash_is_that_of_the_bytes(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # sha256 of "abc", FIPS 180-2
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert ContentHashes(memory).of(path) == expected
    assert ContentHashes(memory).of(tmp_path / "none") is None


def test_change_is_noticed_and_undone(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "file"
    hashes = ContentHashes(memory)
    path.write_text("one")
    first = hashes.of(path)
    path.write_text("other")
    assert hashes.of(path) != first
    path.write_text("one")
    assert hashes.of(path) == first


def test_change_that_keeps_size_and_name_is_noticed(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    hashes = ContentHashes(memory)
    first = hashes.of(path)
    path.write_text("two")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # a file system may count in coarse ticks
    assert hashes.of(path) != first
    other = tmp_path / "other"
    other.write_text("six")
    os.utime(other, ns=(0, path.stat().st_mtime_ns))
    second = hashes.of(path)
    other.replace(path)  # the same size, the same time, another inode
    assert hashes.of(path) != second


def test_time_alone_changes_no_hash(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    hashes = ContentHashes(memory)
    first = hashes.of(path)
    os.utime(path, (0, 0))
    assert hashes.of(path) == first


def test_hash_of_a_folder_follows_contents_and_names(tmp_path: Path, memory: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "cats").mkdir(parents=True)
    hashes = ContentHashes(memory)
    seen = [hashes.of(folder)]

    def is_new() -> bool:
        seen.append(hashes.of(folder))
        return seen[-1] not in seen[:-1]

    (folder / "cats" / "1.jpg").write_text("one")
    assert is_new()
    (folder / "cats" / "2.jpg").write_text("two")
    assert is_new()
    (folder / "cats" / "2.jpg").write_text("another")
    assert is_new()
    (folder / "cats").rename(folder / "dogs")
    assert is_new()
    (folder / "dogs" / "2.jpg").rename(folder / "dogs" / "3.jpg")
    assert is_new()
    (folder / "dogs" / "3.jpg").unlink()
    assert is_new()
    (folder / "dogs").rename(folder / "cats")
    assert not is_new(), "as after the first file"


def test_links_are_followed_but_not_in_a_circle(tmp_path: Path, memory: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "folder"
    elsewhere.mkdir()
    folder.mkdir()
    (elsewhere / "1.jpg").write_text("one")
    (folder / "cats").symlink_to(elsewhere)
    (folder / "self").symlink_to(folder)
    hashes = ContentHashes(memory)
    first = hashes.of(folder)
    (elsewhere / "1.jpg").write_text("other")
    assert hashes.of(folder) != first


def test_a_folder_of_any_names_and_links_has_a_hash(tmp_path: Path, memory: Path) -> None:
    """Names that are no text, a link to itself, a pipe, and folders linked so that 2^30 paths lead to the last."""
    for level in range(31):
        (tmp_path / "x" / str(level)).mkdir(parents=True)
    for level in range(30):
        for name in ("a", "b"):
            (tmp_path / "x" / str(level) / name).symlink_to(f"../{level + 1}")
    (tmp_path / "x" / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "x" / "pipe")
    before = ContentHashes(memory).of(tmp_path / "x")
    (tmp_path / "x" / "30" / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert ContentHashes(memory).of(tmp_path / "x") != before


def test_known_hashes_are_not_computed_again(tmp_path: Path, memory: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    hashes = ContentHashes(memory)
    hashes.of(path)
    hashes.save()
    known = json.loads(memory.read_text())
    (stamp,) = known.values()
    stamp[-1] = "remembered"
    memory.write_text(json.dumps(known))
    assert ContentHashes(memory).of(path) == "remembered"
    os.utime(path, (0, 0))
    assert ContentHashes(memory).of(path) != "remembered"


@pytest.mark.parametrize("content", [None, "", "{half"])
def test_lost_or_broken_memory_costs_time_only(tmp_path: Path, memory: Path, content: str | None) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    expected = ContentHashes(tmp_path / "none.json").of(path)
    if content is not None:
        memory.parent.mkdir()
        memory.write_text(content)
    hashes = ContentHashes(memory)
    assert hashes.of(path) == expected
    hashes.save()
    assert len(json.loads(memory.read_text())) == 1


def test_nothing_learnt_nothing_written(memory: Path, tmp_path: Path) -> None:
    ContentHashes(memory).save()
    assert not memory.exists()
