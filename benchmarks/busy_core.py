"""What a busy neighbour costs: `python benchmarks/busy_core.py efficientnet_lite0 resnet50`.

Wall milliseconds an image of the frozen pass, as shipped (one thread a stream, a stream a core) and as PyTorch runs a
network by itself (float32, two threads inside each operation), on two cores: both free, then with other processes on
one or both of them. Variants take turns; medians.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.images.preprocessing import Preprocessing
from regraft.training.features import extract_features
from regraft.training.reproducibility import Compute, choose_fast_dtype

BATCH_SIZE = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    for name in arguments.networks:
        variants = prepare(name, arguments.images)
        for busy in ([], cores[1:], cores):
            with keep_busy(busy):
                show(f"{name}, {len(busy)} of 2 cores busy", variants, arguments)


def prepare(name: str, num_images: int) -> dict[str, Callable[[], object]]:
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    size, half = spec.fixed_size or 224, (0.5, 0.5, 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (num_images, size, size, 3), np.uint8)
    preprocessing = Preprocessing(
        size=size, resize_size=size, fit="stretch", interpolation="bilinear", mean=half, std=half
    )
    cpu = torch.device("cpu")
    compute = Compute(cpu, choose_fast_dtype("auto", cpu), num_streams=2, deterministic=True)
    blocks = extract_features(backbone, pixels, preprocessing, batch_size=BATCH_SIZE, compute=compute)
    blocks.compute(0, BATCH_SIZE)  # fuses, which is done once
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255

    def ours() -> object:
        torch.set_num_threads(1)
        return blocks.compute(0, num_images)

    return {"two threads an operation, float32": lambda: plain(backbone, images), "as shipped": ours}


def plain(backbone: Backbone, images: torch.Tensor) -> object:
    """The network as PyTorch runs it; images are normalised already."""
    torch.set_num_threads(2)
    with torch.inference_mode():
        return [backbone(batch) for batch in images.split(BATCH_SIZE)]


@contextmanager
def keep_busy(cores: list[int]) -> Iterator[None]:
    """Other work on some cores: large matrix products, for as long as it lasts."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(core,), daemon=True) for core in cores]
    for process in processes:
        process.start()
    try:
        if processes:
            time.sleep(10)  # they load PyTorch first
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


def work(core: int) -> None:
    os.sched_setaffinity(0, [core])
    torch.set_num_threads(1)
    matrix = torch.randn(1024, 1024)
    while True:
        matrix @ matrix


def show(title: str, variants: dict[str, Callable[[], object]], arguments: argparse.Namespace) -> None:
    found: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(arguments.repeats):
        for variant, run in variants.items():
            started_s = time.perf_counter()
            run()
            found[variant].append((time.perf_counter() - started_s) / arguments.images * 1e3)
    print(title)
    reference = statistics.median(found[next(iter(found))])
    for variant, times_ms in found.items():
        median = statistics.median(times_ms)
        print(f"  {variant:<36} {median:7.1f} ms an image, {reference / median:5.1f} times", flush=True)


if __name__ == "__main__":
    main()
