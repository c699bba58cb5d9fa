"""Time and memory of ingest for many images: `python benchmarks/many_images.py --images 100000 [--kind alike]`.

Draws images, one in a hundred a changed copy of another, then indexes, hashes and searches them for near copies in a
process of its own. They are smooth random shapes, or (`alike`) solar cells of one kind: the same bars and edges on all,
nearly the same grain on one in fifty.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from regraft.images.index import index_images
from regraft.images.related import relate_images

COPY_EVERY = 100
SIZE = (160, 120)
OWN_GRAIN = 0.2  # of that of the block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--kind", choices=DRAWN, default="shapes")
    parser.add_argument("--folder", type=Path, help="where the images are kept, to draw them only once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        started_s = time.monotonic()
        with ProcessPoolExecutor(2) as executor:
            list(executor.map(partial(draw, folder, arguments.kind), range(arguments.images), chunksize=500))
        print(f"drawn in {time.monotonic() - started_s:.0f} s", flush=True)
        process = multiprocessing.get_context("spawn").Process(target=ingest, args=(folder, arguments.images))
        process.start()
        process.join()


def draw(folder: Path, kind: str, number: int) -> None:
    """Write image `number`; one in a hundred is a copy of the one before."""
    path = folder / f"{number:06d}.jpg"
    if path.exists():
        return
    is_copy = number % COPY_EVERY == COPY_EVERY - 1
    generator = np.random.default_rng(number - is_copy)
    width, height = SIZE
    image = Image.fromarray(np.clip(DRAWN[kind](generator), 0, 255).astype(np.uint8))
    if is_copy and number % (2 * COPY_EVERY) == COPY_EVERY - 1:
        image = image.crop((5, 2, width - 3, height - 4))
    elif is_copy:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image.save(path, quality=60 if is_copy else 85)


def draw_shapes(generator: np.random.Generator) -> np.ndarray:
    """`(height, width, 3)`: octaves of random blots."""
    return 128 + sum(blots(generator, cells, 3) * 1.5 / cells**0.5 for cells in (3, 6, 12, 40))


def draw_alike(generator: np.random.Generator) -> np.ndarray:
    """`(height, width)`: edges and three bars as on all others, wavering by a pixel; the grain of one of 50 blocks of
    silicon, and a little of its own: among 10,000 each has 200 others that are nearly the same."""
    width, height = SIZE
    down, across = np.mgrid[:height, :width] + generator.uniform(-1, 1, (2, 1, 1))
    frame = np.minimum.reduce([down, height - down, across, width - across]).clip(0, 8) / 8
    bars = sum(np.exp(-(((down - place * height) / 2) ** 2)) for place in (0.2, 0.5, 0.8))
    block = np.random.default_rng(int(generator.integers(50)))
    grain = sum(blots(block, cells, 1)[:, :, 0] / cells**0.5 for cells in (6, 12, 24))
    grain += OWN_GRAIN * sum(blots(generator, cells, 1)[:, :, 0] / cells**0.5 for cells in (6, 12, 24))
    grey: np.ndarray = (120 + 0.35 * grain) * frame - 60 * bars
    return grey


def blots(generator: np.random.Generator, cells: int, channels: int) -> np.ndarray:
    """`(height, width, channels)` in [-128, 127]: random squares, smoothed."""
    squares = generator.integers(0, 256, (cells, cells, channels), np.uint8)
    layers = [
        Image.fromarray(squares[:, :, layer]).resize(SIZE, Image.Resampling.BICUBIC)
        for layer in range(channels)
    ]
    return np.stack(layers, axis=2).astype(np.float64) - 128


DRAWN = {"shapes": draw_shapes, "alike": draw_alike}


def ingest(folder: Path, num_images: int) -> None:
    """Index and search, and say how long it took and what it found."""
    paths = [(folder / f"{number:06d}.jpg").as_posix() for number in range(num_images)]
    listing = pd.DataFrame({"path": paths, "label": "a", "group": None, "split": None})
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    index, _, thumbnails = index_images(
        listing, max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None
    )
    indexed_s, indexed_cpu_s = time.monotonic(), time.process_time()
    _, found = relate_images(index, thumbnails, near_copies="keep_together", groups="suggest")
    searched_s, searched_cpu_s = time.monotonic(), time.process_time()
    pairs = {tuple(pair["paths"]) for pair in found["near_copy_pairs"]}
    copies = {(paths[number - 1], paths[number]) for number in range(COPY_EVERY - 1, num_images, COPY_EVERY)}
    print(
        f"{num_images} images: indexed in {indexed_s - started_s:.0f} s ({indexed_cpu_s - started_cpu_s:.0f} CPU), "
        f"searched in {searched_s - indexed_s:.0f} s ({searched_cpu_s - indexed_cpu_s:.0f} CPU), at most "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB; {len(pairs & copies)} of {len(copies)} "
        f"copies found, {len(pairs - copies)} other pairs, {found['near_copies']['num_pairs_compared']} compared"
    )


if __name__ == "__main__":
    main()
