import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from regraft.adapters.checkout import Checkout, ask_git, describe_checkout

Git = Callable[..., None]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "-m", "one")
    return git


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert describe_checkout(tmp_path) == Checkout(None, (), None)


def test_a_clean_folder_is_its_commit(git: Git, tmp_path: Path) -> None:
    checkout = describe_checkout(tmp_path)
    assert checkout.commit is not None
    assert len(checkout.commit) == 40
    assert (checkout.changed, checkout.diff_sha256) == ((), None)


def test_changed_new_and_staged_files_are_named(git: Git, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("2\n")
    (tmp_path / "a new one.py").write_text("3\n")
    (tmp_path / "staged.py").write_text("4\n")
    git("add", "staged.py")
    assert set(describe_checkout(tmp_path).changed) == {"code.py", "a new one.py", "staged.py"}


def test_another_change_is_another_hash(git: Git, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("2\n")
    first = describe_checkout(tmp_path).diff_sha256
    (tmp_path / "code.py").write_text("3\n")
    second = describe_checkout(tmp_path).diff_sha256
    assert first is not None
    assert second is not None
    assert first != second


def test_what_a_run_writes_is_no_change(git: Git, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metrics.json").write_text("{}")
    (tmp_path / "dvc.lock").write_text("")
    assert describe_checkout(tmp_path).changed == ()


def test_a_failing_command_has_no_answer(git: Git, tmp_path: Path) -> None:
    assert ask_git(tmp_path, "rev-parse", "nothing") is None
