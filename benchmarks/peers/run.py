"""regraft against torchvision's, timm's, Lightning's, fastai's and Keras' ways: `python benchmarks/peers/run.py`.

Each contender is a process of its own on one thread, given the same images, the same network and ImageNet weights:
regraft its shipped job, the others 5 epochs of the head and 3 of everything. A pair is a seed (split, initial weights,
order); the order of contenders turns with it. The peers live in an environment of their own:

    python -m venv .peers && .peers/bin/pip install -r benchmarks/peers/requirements.txt
    python benchmarks/peers/run.py --peers-python .peers/bin/python --seeds 5

Results are appended to a file of JSON lines as each contender ends, and what is there is not run again. `--report`
prints the tables.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from report import FINE_TUNE_EPOCHS, HEAD_EPOCHS, report
from safetensors.torch import save_file

from regraft.backbones.weights import PretrainedWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.images.index import index_images
from regraft.images.related import relate_images
from regraft.images.sources import ElpvSource, demo_files, list_images
from regraft.images.splits import SplitOptions, assign_splits

FOLDER = Path(__file__).parent
CONTENDERS = ("regraft", "torchvision", "timm", "lightning", "fastai", "keras")
ASKED_FOR = ("regraft_openvino",)  # wants the extra


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", default=sys.executable, help="Python of the peers' environment")
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=5, help="pairs")
    parser.add_argument("--first-seed", type=int, default=0, help="of the pairs; those before it are not run")
    parser.add_argument("--images", type=int, help="of all splits together; all there are")
    parser.add_argument(
        "--split", choices=("grouped", "random"), default="grouped", help="as shipped: grouped"
    )
    parser.add_argument("--core", type=int, help="a core that every contender is kept on")
    parser.add_argument("--results", type=Path, default=FOLDER / "results.jsonl")
    parser.add_argument(
        "--report", action="store_true", help="print what the file of results says, run nothing"
    )
    arguments = parser.parse_args()
    if not arguments.report:
        run_all(arguments)
    report([json.loads(line) for line in arguments.results.read_text().splitlines()])


def run_all(arguments: argparse.Namespace) -> None:
    contenders = arguments.contenders.split(",")
    if unknown := set(contenders) - {*CONTENDERS, *ASKED_FOR}:
        sys.exit(f"unknown contenders {sorted(unknown)}; known: {', '.join(CONTENDERS + ASKED_FOR)}")
    done = set()
    if arguments.results.exists():
        rows = [json.loads(line) for line in arguments.results.read_text().splitlines()]
        done = {(row["contender"], row["seed"], row["num_images"], row["split"]) for row in rows}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights, _ = load_weights(get_spec("efficientnet_lite0"), PretrainedWeights(kind="pretrained"))
        plain = {name: tensor.contiguous() for name, tensor in weights.items()}
        save_file(plain, folder / "weights.safetensors")
        index = index_cells()
        for seed in range(arguments.first_seed, arguments.seeds):
            images = folder / f"seed-{seed}"
            counts = lay_out(index, images, seed, arguments)
            turn = seed % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                key = (contender, seed, sum(counts.values()), arguments.split)
                if key in done:
                    continue
                task = {
                    "images": str(images),
                    "weights": str(folder / "weights.safetensors"),
                    "seed": seed,
                    "num_classes": index["label"].nunique(),
                    "batch_size": 32,
                    "head_epochs": HEAD_EPOCHS,
                    "fine_tune_epochs": FINE_TUNE_EPOCHS,
                }
                row = dict(zip(("contender", "seed", "num_images", "split"), key, strict=True))
                row |= {"commit": commit(), "counts": counts, "machine": machine()} | run_one(
                    contender, task, folder, arguments
                )
                with arguments.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


def index_cells() -> pd.DataFrame:
    """The demonstration's cells, near copies told: no contender pays for the split."""
    source = ElpvSource(path=next(iter(demo_files(ElpvSource()).values())).parent)
    index, _, thumbnails = index_images(
        list_images(source), max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None
    )
    return relate_images(index, thumbnails, near_copies="keep_together", groups="suggest")[0]


def lay_out(index: pd.DataFrame, folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, int]:
    """Class folders of links a split, and `images.csv`; split as shipped, then thinned evenly."""
    options = SplitOptions(kind=arguments.split, val_fraction=0.1, test_fraction=0.25, seed=seed)
    cells = index.assign(split=assign_splits(index, options))
    if arguments.images:
        fraction = arguments.images / len(cells)
        cells = cells.groupby(["split", "label"]).sample(frac=fraction, random_state=seed).sort_index()
    for cell in cells.itertuples():
        link = folder / cell.split / cell.label / Path(cell.path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(cell.path)
    cells[["path", "label", "group", "split"]].to_csv(folder / "images.csv", index=False)
    return {split: int(count) for split, count in cells["split"].value_counts().items()}


def run_one(
    contender: str, task: dict[str, Any], folder: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Run it to its end; CPU seconds and peak memory of the whole process, as the kernel counts them."""
    (folder / "task.json").write_text(json.dumps(task))
    python = sys.executable if contender.startswith("regraft") else arguments.peers_python
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    script, result = FOLDER / f"with_{contender}.py", folder / "result.json"
    started_s = time.monotonic()
    log = arguments.results.with_suffix(f".{contender}.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [python, script, folder / "task.json", result],
            env=environment | threads,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        if arguments.core is not None:
            os.sched_setaffinity(process.pid, {arguments.core})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(
            f"{contender} failed with status {process.returncode}; the last of {log}:\n{log.read_text()[-2000:]}"
        )
    log.unlink()
    cpu_s, wall_s = usage.ru_utime + usage.ru_stime, time.monotonic() - started_s
    whole = {"cpu_s": cpu_s, "wall_s": wall_s, "peak_bytes": usage.ru_maxrss * 1024}
    return {"whole": whole} | json.loads(result.read_text())


def commit() -> str | None:
    """Of regraft, marked where files differ from it; None outside a clone."""
    command = ["git", "-C", FOLDER, "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "num_cores": os.cpu_count(),
        "load": round(float(np.mean(os.getloadavg()[:1])), 2),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


if __name__ == "__main__":
    main()
