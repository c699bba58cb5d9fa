"""What a listing of very many files in one folder costs: `python benchmarks/many_files.py --files 1000000`.

Makes hard links of one tiny PNG in one class folder: they take no room on the disk but the folder's own. Then times, in
a process of its own for each number, what ingest does before it opens the first file, and how long it takes to tell
whether the files have changed.
"""

import argparse
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from regraft.adapters.files import ContentHashes
from regraft.images.file_names import find_alike, find_links_out
from regraft.images.sources import FolderSource, list_images

LINKS_PER_FILE = 50_000  # ext4 allows 65,000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder, else")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        root = Path(scratch) / "images"
        made = 0
        for count in (arguments.files // 4, arguments.files // 2, arguments.files):
            link(root, made, count)
            made = count
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(root, count))
            process.start()
            process.join()


def link(root: Path, start: int, stop: int) -> None:
    """Fill the class folder with files number `start` to `stop`; a second class has one file."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    for label in ("many", "one"):
        (root / label).mkdir(parents=True, exist_ok=True)
    (root / "one" / "only.png").write_bytes(stream.getvalue())
    for number in range(start, stop):
        if number % LINKS_PER_FILE == 0:
            first = root / "many" / f"{number:07d}.png"
            first.write_bytes(stream.getvalue())
        else:
            (root / "many" / f"{number:07d}.png").hardlink_to(first)


def measure(root: Path, count: int) -> None:
    """Say what each part takes, and the most memory of the process."""
    source = FolderSource(path=root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def timed(function: Callable[[], Any]) -> tuple[Any, str]:
        started_s, started_cpu_s = time.monotonic(), time.process_time()
        result = function()
        return result, f"{time.monotonic() - started_s:.1f} s ({time.process_time() - started_cpu_s:.1f} CPU)"

    listing, listed = timed(lambda: list_images(source))
    _, skipped = timed(source.list_skipped)
    paths = listing["path"].tolist()
    _, names = timed(lambda: (find_alike(paths), find_links_out(paths)))
    memory = root.parent / "hashes.json"
    memory.unlink(missing_ok=True)
    _, hashed = timed(lambda: remember(memory, root))
    _, hashed_again = timed(lambda: remember(memory, root))
    most = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    print(
        f"{count:,} files: listed in {listed}, what is skipped {skipped}, names alike and links {names}, "
        f"hashed {hashed}, once more {hashed_again}; {most:.2f} GiB",
        flush=True,
    )


def remember(memory: Path, root: Path) -> None:
    """What the runner does to know whether the images have changed."""
    hashes = ContentHashes(memory)
    hashes.of(root)
    hashes.save()


if __name__ == "__main__":
    main()
