"""Kill `kedro run` at random moments, let it go on, compare bytes: `python benchmarks/kills.py --kills 50`.

Each trial starts in a clean copy of the project with drawn pictures, kills the run's processes (SIGKILL) at a moment
drawn from its whole length, runs again to the end, and compares every file under `data/` with those of a run that was
left alone. Save points are made at every update there, so that kills fall between them too.
"""

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(PROJECT / "tests" / "pipelines"))
from shapes import draw_shapes  # noqa: E402

SHAPES = Path("data/01_raw/shapes")


@dataclass(frozen=True)
class Trial:
    """One kill: when, after which node had ended last, and the files that differ in the end."""

    moment_s: float
    after: str
    differing: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=60, help="pictures a class")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = kill_runs(
            Path(folder), num_kills=arguments.kills, num_per_class=arguments.images, seed=arguments.seed
        )
    identical = sum(not trial.differing for trial in trials)
    print(f"{identical} of {len(trials)} identical")
    sys.exit(identical != len(trials))


def kill_runs(folder: Path, *, num_kills: int, num_per_class: int, seed: int) -> list[Trial]:
    """Trials one after another; each is told in a line."""
    untouched = copy_project(folder / "untouched", num_per_class)
    started_s = time.monotonic()
    run_to_end(untouched)
    length_s = time.monotonic() - started_s
    expected = hashes(untouched)
    print(f"a run left alone: {length_s:.1f} s, {len(expected)} files", flush=True)
    generator = random.Random(seed)
    trials = []
    for number in range(num_kills):
        root = copy_project(folder / f"trial-{number}", num_per_class)
        moment_s = generator.uniform(0, length_s)
        kill_after(root, moment_s)
        after = last_finished(root)
        run_to_end(root)
        found = hashes(root)
        differing = sorted(
            path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)
        )
        trials.append(Trial(moment_s, after, tuple(differing)))
        result = "identical" if not differing else "DIFFERENT: " + ", ".join(differing)
        print(f"{number + 1:3d}: killed after {moment_s:5.1f} s, last ended {after}: {result}", flush=True)
        shutil.rmtree(root)
    return trials


def copy_project(root: Path, num_per_class: int) -> Path:
    """The code and configuration, drawn pictures, and save points as often as can be."""
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    (root / "conf" / "local").mkdir()
    shutil.copy(PROJECT / "pyproject.toml", root)
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    draw_shapes(root / SHAPES, num_per_class=num_per_class)
    (root / "conf" / "local" / "catalog.yml").write_text(
        "fine_tune_save_points:\n  save_every_s: 0\ningest_save_points:\n  save_every_s: 0\n"
    )
    return root


def run_to_end(root: Path) -> None:
    process = start(root)
    _, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the run ended with {process.returncode}: {err.decode()}")


def kill_after(root: Path, moment_s: float) -> None:
    """Start a run and kill it with all its processes, unless it has ended by then."""
    process = start(root)
    time.sleep(moment_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def start(root: Path) -> subprocess.Popen[bytes]:
    kept_apart = ("MLFLOW_", "KEDRO_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_apart)}
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--env", "test"],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def last_finished(root: Path) -> str:
    """The node whose record is the newest."""
    records = sorted((root / ".regraft" / "nodes").glob("[!.]*.json"), key=lambda path: path.stat().st_mtime)
    return records[-1].stem if records else "none"


def hashes(root: Path) -> dict[str, str]:
    """sha256 of every file under `data/`, hidden ones too: a leftover is a difference."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "data").rglob("*"))
        if path.is_file() and not path.is_relative_to(root / SHAPES)
    }


if __name__ == "__main__":
    main()
