"""What git says of the project's folder: the commit, and what differs from it.

Knows git's command line and nothing else; writes nothing.
"""

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

# What a run itself writes is no change of what ran.
_BUT_RESULTS = ("--", ".", ":(exclude)dvc.lock", ":(exclude)data")


@dataclass(frozen=True)
class Checkout:
    """State of a folder under git.

    Attributes:
        commit: None without git, or before the first commit.
        changed: Files and folders that differ from the commit, new ones too; not the data.
        diff_sha256: Of the difference in files that git knows; None where there is none.
    """

    commit: str | None
    changed: tuple[str, ...]
    diff_sha256: str | None


def describe_checkout(folder: Path) -> Checkout:
    """Commit of a folder, and whether code or configuration differ from it."""
    commit = ask_git(folder, "rev-parse", "HEAD")
    if commit is None:
        return Checkout(None, (), None)
    entries = (ask_git(folder, "status", "--porcelain", "-z", "--no-renames", *_BUT_RESULTS) or "").split(
        "\0"
    )
    difference = ask_git(folder, "diff", "--binary", "--no-ext-diff", "HEAD", *_BUT_RESULTS)
    return Checkout(
        commit=commit.strip(),
        changed=tuple(entry[3:] for entry in entries if entry),
        diff_sha256=hashlib.sha256(difference.encode()).hexdigest() if difference else None,
    )


def ask_git(folder: Path, *arguments: str) -> str | None:
    """What a git command that only reads prints; None where it fails or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            check=False,
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
