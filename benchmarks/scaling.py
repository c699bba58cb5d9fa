"""Cost against the number of images, their size and the number of classes: `python benchmarks/scaling.py`.

Three tables of the product's own functions on drawn images and features, one thread, each line a process of its own:
from files to frozen features and one epoch of fine-tuning, for numbers of images and for sizes; the solved head, for
numbers of images and of classes. CPU milliseconds an image should stay as they are from line to line, and so should
the memory that is the process' own, told with the step during which most was seen; pages of mapped files are the
kernel's to take back, and are not counted.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kedro.config import OmegaConfigLoader
from PIL import Image

from regraft.adapters.datasets import ArrayFolder
from regraft.adapters.unfinished import write_blocks
from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.classifier import assemble
from regraft.images.blocks import ArrayBlocks
from regraft.images.index import index_images
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing
from regraft.images.related import relate_images
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.train_head import LinearHeadOptions
from regraft.save_points import NoSavePoints
from regraft.training.features import extract_features
from regraft.training.fine_tune import fine_tune, labelled
from regraft.training.head import fit_head
from regraft.training.linear_probe import SolverSettings, fit_linear_probe
from regraft.training.reproducibility import Compute, choose_fast_dtype, reproducible

STEPS = ("index", "near copies", "pixels", "features", "head", "fine-tune, an epoch")
PIXELS_DRAWN = 300
FEATURE_DIM = 1280
SOLVER = SolverSettings(penalties=(1.0, 0.1, 0.01), num_folds=3, tolerance=1e-6, max_iterations=5000, seed=0)
SHIPPED = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
FINE_TUNE = FineTuneOptions.model_validate({**SHIPPED["fine_tune"], "max_epochs": 1, "views": "identity"})


class Meter:
    """CPU seconds of steps, and the most anonymous memory seen while each ran, what was there before it included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.02):
                self.bytes[name] = max(self.bytes[name], own_memory_bytes())

        self.bytes[name] = own_memory_bytes()
        watcher = threading.Thread(target=watch)
        watcher.start()
        started_s = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = time.process_time() - started_s
            ended.set()
            watcher.join()
            self.bytes[name] = max(self.bytes[name], own_memory_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=numbers, default="250,500,1000,2000", help="up to 100,000 and more")
    parser.add_argument(
        "--sizes", type=numbers, default="96,160,224,320", help="pixels a side, for 250 images"
    )
    parser.add_argument("--classes", type=numbers, default="2,10,100", help="for the solved head")
    parser.add_argument(
        "--head-images", type=numbers, default="1000,4000,16000", help="rows of drawn features"
    )
    parser.add_argument("--backbone", default="efficientnet_lite0")
    arguments = parser.parse_args()
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as regraft/settings.py; read once, before the first tensor
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder)
        header("images", *(f"{step}, ms" for step in STEPS), "own memory, MiB")
        for number in arguments.images:
            draw_all(images, number)
            line(number, apart(measure_images, images, number, 224, arguments.backbone), number)
        header("size, px", *(f"{step}, ms" for step in STEPS), "own memory, MiB")
        draw_all(images, 250)
        for size in arguments.sizes:
            line(size, apart(measure_images, images, 250, size, arguments.backbone), 250)
    header("images × classes", "head, ms", "own memory, MiB")
    for number in arguments.head_images:
        for num_classes in arguments.classes:
            if number >= 10 * num_classes:
                line(f"{number} × {num_classes}", apart(measure_head, number, num_classes), number)


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


def draw_all(folder: Path, num_images: int) -> None:
    """JPEG files of blots, no two alike; the class, one of two, shows in the size of the blots."""
    for number in range(num_images):
        path = folder / f"{number:06d}.jpg"
        if not path.exists():
            generator = np.random.default_rng(number)
            cells = (4, 16)[number % 2]
            blots = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), np.uint8))
            blots.resize((PIXELS_DRAWN, PIXELS_DRAWN), Image.Resampling.BICUBIC).save(path, quality=90)


def measure_images(folder: Path, num_images: int, size: int, backbone_name: str) -> Meter:
    """CPU seconds of every step from files on, and peak memory."""
    meter = Meter()
    paths = [(folder / f"{number:06d}.jpg").as_posix() for number in range(num_images)]
    listing = pd.DataFrame({"path": paths, "label": "a", "group": None, "split": None})
    compute = Compute(torch.device("cpu"), choose_fast_dtype("auto", torch.device("cpu")), 1, True)
    preprocessing = Preprocessing(
        size=size, resize_size=size, fit="stretch", interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    backbone = random_backbone(backbone_name)
    with tempfile.TemporaryDirectory() as scratch, reproducible(compute):
        with meter.step("index"):
            index, _, thumbnails = index_images(
                listing, max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None
            )
        with meter.step("near copies"):
            relate_images(index, thumbnails, near_copies="keep_together", groups="skip")
        del thumbnails
        manifest = index.assign(
            label=[number % 2 for number in range(num_images)],
            split=np.where(np.arange(num_images) % 10 < 9, "train", "val"),
        )
        with meter.step("pixels"):
            pixels = stored(
                Path(scratch) / "pixels.npy",
                normalize_images(manifest, preprocessing, num_workers=1, block_rows=256),
            )
        with meter.step("features"):
            features = stored(
                Path(scratch) / "features.npy",
                extract_features(backbone, pixels, preprocessing, batch_size=8, compute=compute),
            )
        names = {"label": ["few", "many"]}
        options = LinearHeadOptions(kind="linear")
        with meter.step("head"):
            head, _ = fit_head(
                features,
                backbone.feature_dims,
                manifest,
                names,
                layers=options.layers(),
                settings=options.settings(),
            )
        probe = assemble(backbone, head, preprocessing, views="identity")
        with meter.step("fine-tune, an epoch"):
            fine_tune(
                probe,
                labelled(pixels, manifest, "train", "label"),
                labelled(pixels, manifest, "val", "label"),
                settings=FINE_TUNE.settings(),
                compute=compute,
                store=ArrayFolder(folder=scratch, max_bytes=1e12),
                save_points=NoSavePoints(),
            )
    return meter


def measure_head(num_images: int, num_classes: int) -> Meter:
    """CPU seconds of the solved head on drawn features, read from a file: a noisy centre a class."""
    meter = Meter()
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(num_images) % num_classes)
    centres = generator.standard_normal((num_classes, FEATURE_DIM), np.float32) * 0.1

    def draw(start: int, stop: int) -> np.ndarray:
        noise = generator.standard_normal((stop - start, FEATURE_DIM), np.float32)
        return centres[labels[start:stop]] + noise

    drawn = ArrayBlocks((num_images, FEATURE_DIM), "float32", block_rows=1000, compute=draw)
    with tempfile.TemporaryDirectory() as folder:
        features = stored(Path(folder) / "features.npy", drawn)
        with meter.step("head"):
            fit_linear_probe(
                features, labels, num_classes=num_classes, groups=np.arange(num_images), settings=SOLVER
            )
    return meter


def random_backbone(name: str) -> Backbone:
    weights, _ = load_weights(get_spec(name), RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    return backbone


def stored(path: Path, blocks: Any) -> np.ndarray:
    write_blocks(path, blocks, task="", circumstances=None)
    return np.load(path, mmap_mode="r")


def own_memory_bytes() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return float(line.split()[1]) * 1024


def apart(work: Callable[..., Meter], *arguments: Any) -> Meter:
    """Run in a new process."""
    with multiprocessing.get_context("spawn").Pool(
        1, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        return pool.apply(work, arguments)


def header(*columns: str) -> None:
    print("\n| " + " | ".join(columns) + " |\n|" + "---:|" * len(columns))


def line(name: object, meter: Meter, num_images: int) -> None:
    cells = [f"{seconds / num_images * 1e3:.2f}" for seconds in meter.seconds.values()]
    largest = max(meter.bytes, key=lambda step: meter.bytes[step])
    memory = f"{meter.bytes[largest] / 2**20:.0f}" + (f" ({largest})" if len(meter.bytes) > 1 else "")
    print("| " + " | ".join([str(name), *cells, memory]) + " |", flush=True)


if __name__ == "__main__":
    main()
