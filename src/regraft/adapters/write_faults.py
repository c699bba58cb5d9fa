"""Why something cannot be written, in one line: no room, no right, a read-only disk.

Knows errors of the operating system; not what is written.
"""

import errno
import os
import shutil
from pathlib import Path

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REASONS = {
    errno.ENOSPC: "no room on the disk",
    errno.EDQUOT: "the quota of this user is used up",
    errno.EFBIG: "it is larger than files may be here, see `ulimit -f`",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no right to write there",
    errno.EPERM: "no right to write there",
    errno.ENOTDIR: "one of its folders is a file",
    errno.EEXIST: "one of its folders is a file",
    errno.EIO: "the disk reports an error",
}


class WriteError(OSError):
    """A file or folder cannot be written, for want of room or of the right to."""


def require_writable(path: Path) -> None:
    """Find out before work of hours whether its result could be written.

    Raises:
        WriteError: If there is no right to write a file or folder of that name.
    """
    parent = _existing_parent(path)
    if not parent.is_dir():
        raise write_error(OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)), path)
    if not os.access(parent, os.W_OK | os.X_OK):
        is_read_only = bool(os.statvfs(parent).f_flag & os.ST_RDONLY)
        number = errno.EROFS if is_read_only else errno.EACCES
        raise write_error(OSError(number, os.strerror(number)), path)


def require_room(path: Path, needed_bytes: int) -> None:
    """Find out the same of room.

    Raises:
        WriteError: If less is left on that disk than is needed.
    """
    if needed_bytes > free_bytes(path):
        raise write_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path, needed_bytes)


def write_error(error: OSError, path: Path, needed_bytes: int | None = None) -> WriteError:
    """Say in one line what could not be written, why, and how much room there is."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    if error.errno in _NO_ROOM - {errno.EFBIG}:
        needed = "" if needed_bytes is None else f"{size_text(needed_bytes)} needed, "
        reason += f" ({needed}{size_text(free_bytes(path))} free)"
    return WriteError(f"{_shown(path)} cannot be written: {reason}. What was finished before is kept")


def free_bytes(path: Path) -> int:
    """Room left for this user on the disk where `path` is, or would be."""
    return shutil.disk_usage(_existing_parent(path)).free


def is_about_writing(error: OSError, path: Path, aside: Path) -> bool:
    """Whether it was `path`, or `aside` for it, that failed, and not the reading of what goes into it."""
    if error.errno in _NO_ROOM:
        return True
    if error.errno not in _REASONS or error.filename is None:
        return False
    name = Path(os.fsdecode(error.filename))
    return name in (path, *path.parents) or name.is_relative_to(aside)


def size_text(num_bytes: float) -> str:
    """`3.9 GB`: decimal units, as disks are sold and `df -H` counts."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def _shown(path: Path) -> str:
    """Relative to the working folder, if it is below it."""
    absolute, here = path.absolute(), Path.cwd()
    return (absolute.relative_to(here) if absolute.is_relative_to(here) else absolute).as_posix()


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())
