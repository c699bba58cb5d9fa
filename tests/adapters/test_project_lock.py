"""Locks held by real processes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regraft.adapters.project_lock import ProjectInUseError, ProjectLock
from regraft.adapters.write_faults import WriteError

HOLD = """
import sys
from pathlib import Path
from regraft.adapters.project_lock import ProjectLock
lock = ProjectLock(Path(sys.argv[1]))
lock.take()
{then}
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(path: Path, then: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Another process that has the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(path), "--pipeline", "finetune"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".regraft" / "lock"


def test_a_second_run_is_refused_in_a_line_that_names_the_first(path: Path) -> None:
    with holder(path) as process, pytest.raises(ProjectInUseError) as caught:
        ProjectLock(path).take()
    assert re.fullmatch(
        rf"another run is at work in this project folder: process {process.pid} on {re.escape(os.uname().nodename)}, "
        r"started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d, `-c \S+ --pipeline finetune`\. "
        r"Nothing was run; wait for it or stop it",
        str(caught.value),
    )


def test_a_killed_run_leaves_no_lock(path: Path) -> None:
    with holder(path) as process:
        process.kill()
        process.wait()
        lock = ProjectLock(path)
        lock.take()
        assert json.loads(path.read_text())["pid"] == os.getpid()
        lock.release()


def test_a_forked_worker_that_outlives_its_run_holds_no_lock(path: Path) -> None:
    fork = (
        "import os, time\nread, write = os.pipe()\n"
        "if not (child := os.fork()):\n    os.write(write, b'.')\n    time.sleep(60)\n    os._exit(0)\n"
        "os.read(read, 1)\nprint(child)"  # it runs, so it has dropped the lock
    )
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=fork), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert process.stdout.readline() == "held\n"
        process.kill()
        process.wait()
        try:
            os.kill(child, 0)  # it lives
            ProjectLock(path).take()
        finally:
            os.kill(child, 9)


def test_it_is_released_and_taken_again(path: Path) -> None:
    lock, other = ProjectLock(path), ProjectLock(path)
    lock.take()
    lock.take()
    with pytest.raises(ProjectInUseError, match=f"process {os.getpid()} "):
        other.take()
    lock.release()
    lock.release()
    other.take()
    other.release()


def test_a_holder_that_has_not_told_its_name_is_waited_for_a_moment_only(path: Path) -> None:
    with (
        holder(path, then="Path(sys.argv[1]).write_text('')"),
        pytest.raises(ProjectInUseError, match="folder: which one is not known"),
    ):
        ProjectLock(path).take()


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".regraft").write_text("a file")
    with pytest.raises(WriteError, match="one of its folders is a file"):
        ProjectLock(tmp_path / ".regraft" / "lock").take()
