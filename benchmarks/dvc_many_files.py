"""What DVC takes for many small images, in a folder and packed: `python benchmarks/dvc_many_files.py --images 100000`.

Draws PNG files of 1 to 3 KB in 100 folders, packs them, and times DVC's commands on both, each in a project of its
own with a local remote, in turn, in one run. The files are in the page cache: a disk that has to be read makes many
files slower still.
"""

import argparse
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from regraft.images.packing import SHARD_BYTES, pack_folder, unpack_folder

NUM_FOLDERS = 100
LAYOUTS = ("folder", "shards")

Seconds = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder, else")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        run(Path(folder), arguments.images)


def run(root: Path, num_images: int) -> None:
    plain, packed = folders = [make_project(root, layout) for layout in LAYOUTS]

    def both(name: str, *command: str) -> None:
        print_row(name, *(timed(partial(dvc, folder.parent, *command)) for folder in folders))

    draw(plain, num_images)
    packed.mkdir()
    pack_s = timed(partial(pack_folder, plain, packed, shard_bytes=SHARD_BYTES, on_progress=quiet))
    num_bytes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in folders
    ]
    print(
        f"{num_images:,} files of {num_bytes[0] / num_images:,.0f} bytes on average, {num_bytes[0] / 2**20:,.0f} MB; "
        f"{len(list(packed.glob('*.tar')))} shards and an index, {num_bytes[1] / 2**20:,.0f} MB\n{facts(root)}\n"
    )
    print("| seconds (of them CPU) | folder | shards | ratio |\n|---|---|---|---|")
    print_row("`regraft pack`", None, pack_s)
    both("`dvc add`", "add", "images")
    both("`dvc status`", "status")
    both("`dvc push`", "push")
    both("`dvc status --cloud`", "status", "--cloud")
    first = next(iter(sorted(plain.rglob("*.png"))))
    first.write_bytes(first.read_bytes() + b"\0")
    shutil.rmtree(packed)
    packed.mkdir()
    pack_folder(plain, packed, shard_bytes=SHARD_BYTES, on_progress=quiet)
    both("`dvc add`, one image changed", "add", "images")
    both("`dvc push`, one image changed", "push")
    for folder in folders:
        shutil.rmtree(folder)
    both("`dvc checkout`", "checkout")
    again = root / "again"
    again.mkdir()
    print_row("`regraft unpack`", None, timed(partial(unpack_folder, packed, again, on_progress=quiet)))


def make_project(root: Path, layout: str) -> Path:
    """An empty project under git and DVC; where its images go."""
    project = root / layout
    project.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    dvc(project, "init", "--quiet")
    dvc(project, "config", "core.analytics", "false")
    dvc(project, "config", "core.check_update", "false")
    dvc(project, "remote", "add", "--default", "store", str(root / f"store of {layout}"))
    return project / "images"


def draw(folder: Path, num_images: int) -> None:
    """Noise, so that no two files are equal."""
    generator = np.random.default_rng(0)
    for number in range(num_images):
        path = folder / f"{number % NUM_FOLDERS:02d}" / f"{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 18 + number % 14
        file = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(
            file, "PNG", compress_level=1
        )
        path.write_bytes(file.getvalue())


def dvc(project: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=os.environ | {"DVC_SITE_CACHE_DIR": str(project.parent / "site cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"dvc {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def timed(call: Callable[[], object]) -> Seconds:
    """Seconds on the clock, and on the processors."""
    start, before = time.perf_counter(), os.times()
    call()
    after = os.times()
    return time.perf_counter() - start, sum(after[:4]) - sum(before[:4])


def print_row(name: str, folder: Seconds | None, shards: Seconds) -> None:
    told, ratio = "—", "—"
    if folder is not None:
        told, ratio = (
            f"{folder[0]:.1f} ({folder[1]:.1f})",
            f"{folder[0] / shards[0]:.0f} ({folder[1] / shards[1]:.0f})",
        )
    print(f"| {name} | {told} | {shards[0]:.1f} ({shards[1]:.1f}) | {ratio} |", flush=True)


def facts(folder: Path) -> str:
    """What of the machine matters here."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    kind = max((m for m in mounts if folder.is_relative_to(m[1])), key=lambda m: len(m[1]))[2]
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "--version"], capture_output=True, text=True, check=True
    )
    return (
        f"{platform.system()}, {os.cpu_count()} cores, file system {kind}, Python {platform.python_version()}, "
        f"DVC {told.stdout.strip()}"
    )


def quiet(_done: int, _total: int) -> None:
    """No bar."""


if __name__ == "__main__":
    main()
