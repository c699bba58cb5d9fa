"""What starting each of the seven steps costs, the price of a process a stage: `python benchmarks/stage_start.py`.

Runs the job on 60 drawn pictures of 64 pixels, so that nearly all time is start, then each step by itself: where
nothing has changed, and run anew. CPU seconds of the process and its children, the least of some repeats.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
STEPS = ("ingest", "normalize", "build_backbone", "train_head", "fine_tune", "evaluate", "register")
HEAVY = ("torch", "timm", "mlflow", "sklearn", "matplotlib", "pandas")
_IMPORT = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copy_project(project)
        run(project, "finetune")
        print("| step | nothing to do, CPU s | run anew, CPU s | what a run loads |\n|---|---|---|---|")
        for step in STEPS:
            idle = min(run(project, step)[0] for _ in range(arguments.repeats))
            anew = min(run(project, step, "--fresh")[0] for _ in range(arguments.repeats))
            loaded = find_imports(run(project, step, "--fresh", options=("-X", "importtime"))[1])
            print(f"| {step} | {idle:.1f} | {anew:.1f} | {', '.join(loaded)} |", flush=True)


def copy_project(project: Path) -> None:
    """The code and configuration, and 60 pictures."""
    shutil.copytree(PROJECT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    (project / "conf" / "local").mkdir()
    shutil.copytree(
        PROJECT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    shutil.copy(PROJECT / "pyproject.toml", project)
    pictures = project / "data" / "01_raw" / "shapes"
    subprocess.run([sys.executable, PROJECT / "tests/pipelines/shapes.py", pictures], check=True)


def run(project: Path, pipeline: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[float, str]:
    """CPU seconds of one `kedro run`, and what it wrote to stderr."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [
        sys.executable,
        *options,
        "-m",
        "kedro",
        "run",
        "--env",
        "test",
        "--pipeline",
        pipeline,
        *arguments,
    ]
    before = os.times()
    done = subprocess.run(
        command,
        cwd=project,
        env=environment | {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    after = os.times()
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, done.stderr


def find_imports(text: str) -> list[str]:
    """The heavy packages among those that `-X importtime` lists."""
    imported = {found[1].split(".")[0] for line in text.splitlines() if (found := _IMPORT.match(line))}
    return [name for name in HEAVY if name in imported]


if __name__ == "__main__":
    main()
