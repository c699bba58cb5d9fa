"""One run at a time in a project folder, by a lock of the operating system: a killed process leaves none behind.

Knows a file; not what is run.
"""

import errno
import fcntl
import json
import logging
import os
import platform
import sys
import time
from datetime import datetime
from pathlib import Path

from regraft.adapters.write_faults import write_error

# Some file systems (NFS without a lock daemon, some FUSE ones) have no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_logger = logging.getLogger(__name__)


class ProjectInUseError(RuntimeError):
    """Another process runs a pipeline in this project folder."""


class ProjectLock:
    """The right to write a project's data; taken again by the process that has it, nothing happens.

    Args:
        path: A file in the project; it stays when the lock is released.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        """Get hold of it, or fail at once.

        Raises:
            ProjectInUseError: If another process has it; names the process, since when, and its command.
            WriteError: If the file cannot be written.
        """
        if self._file is not None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise write_error(error, self._path) from error
        try:
            self._lock(file)
            os.ftruncate(file, 0)
            os.write(file, json.dumps(_describe_process()).encode())
        except OSError as error:
            os.close(file)
            raise write_error(error, self._path) from error
        except ProjectInUseError:
            os.close(file)
            raise
        self._file = file
        # A worker forked from here must not hold the lock longer than this process lives.
        os.register_at_fork(after_in_child=self.release)

    def release(self) -> None:
        """Let the next one in."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectInUseError(
                f"another run is at work in this project folder: {_holder(file)}. Nothing was run; wait for it or "
                f"stop it"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            folder = self._path.parent
            _logger.warning("this file system has no locks: nothing keeps a second run out of %s", folder)


def command_text() -> str:
    """This process's command line as it was typed, more or less: `kedro run --pipeline finetune`."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # of `python -m kedro`
    return " ".join([name, *sys.argv[1:]])


def _describe_process() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "started": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": command_text(),
    }


def _holder(file: int) -> str:
    for _ in range(20):  # it may have taken the lock this instant, and not have written yet
        try:
            found = json.loads(os.pread(file, 1 << 16, 0))
            return "process {pid} on {host}, started {started}, `{command}`".format(**found)
        except (ValueError, KeyError):
            time.sleep(0.05)
    return "which one is not known"
