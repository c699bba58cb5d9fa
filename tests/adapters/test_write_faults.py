"""Real errors of the operating system: a device that is always full, a limit on file sizes, a tiny disk."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from regraft.adapters.files import written_whole
from regraft.adapters.write_faults import WriteError, require_room, require_writable, size_text

NOBODY = 65534


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def write_on_a_full_disk(path: Path) -> None:
    """Write half of a file, then to the device on which there is never room."""
    with written_whole(path) as aside:
        aside.write_text("half of the ne")
        Path("/dev/full").write_text("w content")


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "features.npy"
    path.write_text("old")
    with pytest.raises(WriteError) as caught:
        write_on_a_full_disk(path)
    assert str(caught.value).startswith(f"{path} cannot be written: no room on the disk (")
    assert str(caught.value).endswith(" free). What was finished before is kept")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["features.npy"]


def test_a_path_below_the_working_folder_is_shown_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WriteError, match=r"^data/features\.npy cannot be written"):
        write_on_a_full_disk(tmp_path / "data" / "features.npy")


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from regraft.adapters.files import written_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
with written_whole(Path({str(tmp_path / "big")!r})) as aside:
    aside.write_bytes(bytes(2000))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "WriteError: " in done.stderr
    assert "it is larger than files may be here, see `ulimit -f`" in done.stderr
    assert names(tmp_path) == []


def test_what_is_known_not_to_fit_is_not_begun(tmp_path: Path) -> None:
    huge = written_whole(tmp_path / "huge", needed_bytes=10**18)
    with pytest.raises(WriteError, match=r"no room on the disk \(1000000\.0 TB needed, .* free\)"):
        huge.__enter__()
    require_room(tmp_path / "small", 1)


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "cats/1.jpg"), OSError(5, "I/O error")]
)
def test_a_failure_to_read_what_goes_in_is_no_failure_to_write(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(type(error), match=error.strerror) as caught, written_whole(tmp_path / "pixels.npy"):
        raise error
    assert caught.value is error


def test_no_right_to_read_an_image_is_no_failure_to_write(tmp_path: Path) -> None:
    error = PermissionError(13, "Permission denied", str(tmp_path / "cats" / "1.jpg"))
    with pytest.raises(PermissionError), written_whole(tmp_path / "pixels.npy"):
        raise error


def test_a_file_where_a_folder_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    path = tmp_path / "data" / "03_primary" / "pixels.npy"
    with pytest.raises(WriteError, match="one of its folders is a file"), written_whole(path):
        pass
    with pytest.raises(WriteError, match="one of its folders is a file"):
        require_writable(path)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder without the right to write, of somebody without special rights."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "closed"
        folder.mkdir()
        if os.geteuid() == 0:
            os.chown(name, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)


@pytest.mark.parametrize("how", ["require_writable(path)", "written_whole(path).__enter__()"])
def test_a_folder_without_the_right_to_write_is_told(closed_folder: Path, how: str) -> None:
    script = f"""
import os
from pathlib import Path
from regraft.adapters.files import written_whole
from regraft.adapters.write_faults import require_writable
if os.geteuid() == 0:
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
path = Path({str(closed_folder)!r}) / "new" / "pixels.npy"
{how}
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=closed_folder.parent
    )
    assert "pixels.npy cannot be written: no right to write there" in done.stderr


def test_where_writing_is_allowed_nothing_is_made(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b" / "c.npy")
    assert names(tmp_path) == []


def test_sizes_are_told_as_disks_are_sold() -> None:
    sizes = [0, 999, 1000, 13_683_800, 3.9e9, 2.5e13]
    assert [size_text(one) for one in sizes] == ["0 B", "999 B", "1.0 kB", "13.7 MB", "3.9 GB", "25.0 TB"]
