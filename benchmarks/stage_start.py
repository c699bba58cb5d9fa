"""What starting each of the seven steps costs, the price of a process a stage: `python benchmarks/stage_start.py`.

Runs the job on 60 drawn pictures of 64 pixels, so that nearly all time is start, then each step by itself: where
nothing has changed, and run anew. CPU seconds of the process and its children, the least of some repeats; imports as
`python -X importtime` tells them, each with what it imports in turn.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).parents[1]
STEPS = ("ingest", "normalize", "build_backbone", "train_head", "fine_tune", "evaluate", "register")
HEAVY = ("torch", "timm", "mlflow", "sklearn", "scipy", "matplotlib", "pandas", "kedro_datasets", "kedro")
_IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|(\s+)(\S+)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        copy_project(project)
        run(project, "finetune")
        print("| step | nothing to do, CPU s | run anew, CPU s | of it imports, s | the heaviest |")
        print("|---|---|---|---|---|")
        for step in STEPS:
            idle = min(run(project, step)[0] for _ in range(arguments.repeats))
            anew = min(run(project, step, "--fresh")[0] for _ in range(arguments.repeats))
            imports = read_imports(run(project, step, "--fresh", options=("-X", "importtime"))[1])
            heaviest = sorted(
                ((seconds, name) for name, seconds in imports.items() if name != "other"), reverse=True
            )
            listed = ", ".join(f"{name} {seconds:.1f}" for seconds, name in heaviest[:4])
            print(
                f"| {step} | {idle:.1f} | {anew:.1f} | {sum(imports.values()):.1f} | {listed} |", flush=True
            )


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


def read_imports(text: str) -> dict[str, float]:
    """Seconds by the outermost package of `HEAVY` that caused an import; `other` for the rest."""
    rows = [(int(m[1]) / 1e6, len(m[2]), m[3]) for line in text.splitlines() if (m := _IMPORT.match(line))]
    seconds: dict[str, float] = defaultdict(float)
    above: list[
        tuple[int, str]
    ] = []  # modules that are being imported, outermost first: they are listed last
    for own, depth, module in reversed(rows):
        above = [(other, name) for other, name in above if other < depth]
        above.append((depth, module.split(".")[0]))
        cause = next((name for _, name in above if name in HEAVY), "other")
        seconds[cause] += own
    return dict(seconds)


if __name__ == "__main__":
    main()
