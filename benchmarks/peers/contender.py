"""What every contender is given and hands back, in a process of its own: images in class folders, weights, a clock.

Knows no library that is compared: it runs in the product's environment and in that of the peers.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # of the weights of EfficientNet-Lite
SIZE = 224
ARCHITECTURE = "tf_efficientnet_lite0"  # timm's name


@dataclass(frozen=True)
class Task:
    """One training.

    Attributes:
        images: A folder a split (train, val, test), in it a folder a class; `images.csv` lists the same files.
        weights: State dict on timm's names, `.safetensors`, with ImageNet's classifier.
        seed: Of initial weights, order and flips.
        batch_size: Images an update.
    """

    images: Path
    weights: Path
    seed: int
    num_classes: int
    batch_size: int
    head_epochs: int
    fine_tune_epochs: int


@dataclass
class Result:
    """CPU and wall seconds by phase, test accuracy by model, and anything else worth keeping."""

    phases: dict[str, dict[str, float]] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The seconds inside, of all threads and of children that have ended."""
        wall_s, cpu_s = time.monotonic(), _cpu_s()
        yield
        seconds = {"cpu_s": _cpu_s() - cpu_s, "wall_s": time.monotonic() - wall_s}
        before = self.phases.get(name, {"cpu_s": 0.0, "wall_s": 0.0})
        self.phases[name] = {unit: before[unit] + seconds[unit] for unit in seconds}


def run_contender(train: Callable[[Task, Result], None], *packages: str) -> None:
    """Read the task from the command line, train, and write the result beside the versions of the packages."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", type=Path)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    values = json.loads(arguments.task.read_text())
    task = Task(**{**values, "images": Path(values["images"]), "weights": Path(values["weights"])})
    result = Result()
    result.phases["start-up"] = {"cpu_s": _cpu_s()}  # until here: interpreter and imports
    train(task, result)
    arguments.result.write_text(
        json.dumps(
            {
                "phases": result.phases,
                "accuracy": result.accuracy,
                "notes": result.notes,
                "versions": {package: version(package) for package in packages},
                "cores": sorted(os.sched_getaffinity(0)),
            }
        )
    )


def _cpu_s() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
