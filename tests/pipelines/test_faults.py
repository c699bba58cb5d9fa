"""`kedro run --env test` as a person types it, while something goes wrong: real processes, locks, disks, signals."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's import mode does not

import shapes

from regraft.adapters.project_lock import ProjectLock

PROJECT = Path(__file__).parents[2]
OWN_DISK = ("unshare", "--user", "--map-root-user", "--mount")

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with 60 drawn pictures, in which nothing has run."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    (root / "conf" / "local").mkdir()
    (root / "src").mkdir()
    shapes.draw_shapes(root / "data" / "01_raw" / "shapes")
    return root


def start(root: Path, *arguments: str, before: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    kept_apart = ("MLFLOW_", "KEDRO_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_apart)}
    return subprocess.Popen(
        [*before, sys.executable, "-m", "kedro", *arguments],
        cwd=root,
        env=environment | {"PYTHONPATH": str(PROJECT / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kedro(root: Path, *arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str, list[str]]:
    """Status, standard output, and the lines of standard error."""
    process = start(root, *arguments, before=before)
    out, err = process.communicate()
    return process.returncode, out, err.splitlines()


def statuses(root: Path) -> list[str]:
    with sqlite3.connect(f"file:{root / 'mlflow.db'}?mode=ro", uri=True) as connection:
        return [status for (status,) in connection.execute("select status from runs order by start_time")]


def leftovers(root: Path) -> list[Path]:
    return [path for kind in ("writing", "old") for path in root.rglob(f".*.{kind}")]


def test_a_second_run_is_refused_and_looking_is_not(root: Path) -> None:
    lock = ProjectLock(root / ".regraft" / "lock")
    lock.take()
    status, out, err = kedro(root, "run", "--env", "test", "--pipeline", "ingest")
    assert (status, out, len(err)) == (1, "", 1)
    assert err[0].startswith(
        f"ProjectInUseError: another run is at work in this project folder: process {os.getpid()} "
    )
    assert not (root / "data" / "03_primary").exists()
    status, out, _ = kedro(root, "registry", "list")
    assert status == 0
    assert "finetune" in out
    lock.release()


def test_no_room_ends_the_run_in_one_line(root: Path) -> None:
    """On a disk of 5 MB, where this user may make one of his own; else with a limit on the size of files."""
    if shutil.which("unshare") and not subprocess.run([*OWN_DISK, "true"], check=False).returncode:
        disk = root.parent / "disk"
        disk.mkdir()
        script = f'mount -t tmpfs -o size=5m disk {disk} && cp -r . {disk} && cd {disk} && "$@"; status=$?; '
        script += f"cp -r {disk}/. {root}; exit $status"  # the disk is gone with its process
        status, _, err = kedro(root, "run", "--env", "test", before=(*OWN_DISK, "sh", "-c", script, "sh"))
        reason = "no room on the disk ("
    else:
        limited = ("sh", "-c", 'ulimit -f 9000; exec "$@"', "sh")  # blocks of 512 bytes, or of 1024
        status, _, err = kedro(root, "run", "--env", "test", before=limited)
        reason = "it is larger than files may be here"
    assert (status, len(err)) == (1, 1), err
    assert err[0].startswith(f"WriteError: data/06_models/backbone.safetensors cannot be written: {reason}")
    assert statuses(root) == ["FAILED"]
    assert leftovers(root) == []


def test_sigterm_ends_the_run_in_order_and_then_a_step_alone_does_not_mix_generations(root: Path) -> None:
    process = start(root, "run", "--env", "test", "--pipelines", "ingest,normalize")
    while not (root / ".regraft" / "open_run.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 143
    assert err.splitlines()[-1] == "stopped by SIGTERM; the next run goes on from there"
    assert "Traceback" not in err
    assert statuses(root) == ["KILLED"]
    assert leftovers(root) == []

    assert kedro(root, "run", "--env", "test", "--pipelines", "ingest,normalize")[0] == 0
    assert statuses(root)[-1] == "FINISHED"
    assert (
        kedro(root, "run", "--env", "test", "--pipeline", "ingest", "--params", "ingest.split.seed=7")[0] == 0
    )
    arguments = ("run", "--env", "test", "--pipeline", "build_backbone", "--params", "ingest.split.seed=7")
    status, _, lines = kedro(root, *arguments)
    assert (status, len(lines)) == (1, 1)
    assert lines[0] == (
        "StaleInputError: extract_features would mix what does not belong together: 'pixels' was made from another "
        "'manifest'. Run `kedro run --pipelines normalize,build_backbone`, or everything that changed with "
        "`kedro run --pipeline finetune`"
    )


def test_a_folder_that_is_not_there_opens_no_run(root: Path) -> None:
    status, _, err = kedro(root, "run", "--env", "test", "--params", "ingest.source.path=data/01_raw/shape")
    assert (status, len(err)) == (1, 1)
    assert err[0].endswith("Did you mean 'shapes'?")
    assert not (root / "mlflow.db").exists()
