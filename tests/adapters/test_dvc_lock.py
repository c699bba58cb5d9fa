"""Against DVC itself, in an empty repository of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from regraft.adapters.dvc_lock import DvcLock


def dvc(root: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A stage that made a file and a folder from a file of another stage, with parameters of two files."""
    (tmp_path / "code.txt").write_text("")
    (tmp_path / "globals.yml").write_text("seed: 3\n")
    (tmp_path / "sample.yml").write_text("sample: {seed: '${globals:seed}', rates: [1, 0.5], name: x}\n")
    (tmp_path / "dvc.yaml").write_text(
        """stages:
  first: {cmd: echo 1 > first.txt, outs: [first.txt]}
  second:
    cmd: mkdir -p made/b.d made/b && echo 2 > made/b.d/1.txt && echo 3 > made/b/é.txt && echo 4 > 4.txt && mkdir none
    deps: [first.txt, code.txt]
    params: [{sample.yml: [sample]}, {globals.yml: [seed]}]
    outs: [made, none, 4.txt]
"""
    )
    dvc(tmp_path, "init", "-q", "--no-scm")
    dvc(tmp_path, "repro", "-q")
    return tmp_path


@pytest.mark.slow
def test_it_reads_what_dvc_wrote(root: Path) -> None:
    lock = DvcLock(root / "dvc.lock")
    for name in ("first.txt", "4.txt", "made", "none"):
        assert lock.wrote(root / name)
        assert lock.changed_inputs(root / name) == []
    assert lock.parameters(root / "made") == {"sample": {"seed": 3, "rates": [1, 0.5], "name": "x"}}
    assert lock.parameters(root / "first.txt") == {}
    assert not lock.wrote(root / "globals.yml")

    (root / "made" / "b" / "é.txt").write_text("another")
    assert not lock.wrote(root / "made")
    (root / "first.txt").write_text("another")
    (root / "code.txt").write_text("code is no matter here")
    assert lock.changed_inputs(root / "4.txt") == [root / "first.txt"]
    (root / "first.txt").unlink()
    assert lock.changed_inputs(root / "4.txt") == []


def test_without_dvc_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    lock = DvcLock(tmp_path / "dvc.lock")
    assert not lock.wrote(tmp_path / "file")
    assert lock.changed_inputs(tmp_path / "file") == []
    assert lock.parameters(tmp_path / "file") == {}
