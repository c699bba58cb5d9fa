"""What folding, fusing and bfloat16 gain: `python benchmarks/passes.py efficientnet_lite0:3 resnet50:1 vgg16:1`.

For each `backbone:stages` the frozen forward pass of the whole network, and the training step (forward and back) of its
last stages, each in its variants, taken in turn on one thread: CPU milliseconds an image, medians, and the ratio to
plain float32. Random weights: a pass costs the same with any. `--openvino` puts OpenVINO beside the frozen pass, where
it is installed.

Plain float32 is what anybody's loop does; it runs in a process of its own, with memory as PyTorch takes it. All others
run with the large memory pages that `regraft/settings.py` asks for.
"""

import argparse
import copy
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.fused import fuse
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.training.folding import HeldWeights, added
from regraft.training.mixed import mix_precision
from regraft.training.stage_training import freeze_depthwise

LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"
PLAIN = "float32"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", metavar="backbone:stages")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="of images, where the network takes any")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--openvino", action="store_true", help="the frozen pass in OpenVINO too, in bfloat16"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for word in arguments.networks:
        name, _, num_stages = word.partition(":")
        for count in (0, int(num_stages)) if num_stages else (0,):
            title = f"training step of the last {count} stages" if count else "frozen pass"
            with measured_elsewhere(name, arguments.batch_size, arguments.size, count) as plain:
                os.environ[LARGE_PAGES] = "1"  # PyTorch reads it once, before its first tensor
                variants = prepare(name, arguments.batch_size, arguments.size, count)
                if arguments.openvino and not count:
                    variants["bfloat16, OpenVINO"] = openvino_pass(
                        *network(name, arguments.batch_size, arguments.size)
                    )
                timed = {variant: timer(run, arguments.batch_size) for variant, run in variants.items()}
                show(f"{name}, {title}", {PLAIN: plain, **timed}, arguments.repeats)


def prepare(name: str, batch_size: int, size: int, num_stages: int) -> dict[str, Callable[[], object]]:
    backbone, images = network(name, batch_size, size)
    return training_steps(backbone, images, num_stages) if num_stages else frozen_passes(backbone, images)


def network(name: str, batch_size: int, size: int) -> tuple[Backbone, Tensor]:
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    size = spec.fixed_size or size
    return backbone, torch.randn(batch_size, 3, size, size)


def timer(run: Callable[[], object], batch_size: int) -> Callable[[], float]:
    """CPU milliseconds an image."""

    def time_once() -> float:
        started_s = time.process_time()
        run()
        return (time.process_time() - started_s) / batch_size * 1e3

    return time_once


@contextmanager
def measured_elsewhere(
    name: str, batch_size: int, size: int, num_stages: int
) -> Iterator[Callable[[], float]]:
    """The plain variant, timed in a process without large pages, one pass whenever asked."""
    os.environ[LARGE_PAGES] = "0"
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=answer, args=(there, name, batch_size, size, num_stages))
    process.start()

    def ask() -> float:
        here.send(True)
        return float(here.recv())

    try:
        yield ask
    finally:
        here.send(False)
        process.join()


def answer(connection: Connection, name: str, batch_size: int, size: int, num_stages: int) -> None:
    torch.set_num_threads(1)
    time_once = timer(prepare(name, batch_size, size, num_stages)["float32, large pages"], batch_size)
    while connection.recv():
        connection.send(time_once())


def frozen_passes(backbone: Backbone, images: Tensor) -> dict[str, Callable[[], object]]:
    channels_last = images.contiguous(memory_format=torch.channels_last)
    half = copy.deepcopy(backbone).to(torch.bfloat16)
    fused = fuse(backbone, size=images.shape[-1])
    fused_half = copy.deepcopy(fused).to(torch.bfloat16)

    def run(network: Backbone, batch: Tensor) -> Callable[[], object]:
        def forward() -> Tensor:
            with torch.inference_mode():
                return network(batch)

        return forward

    return {
        "float32, large pages": run(backbone, images),
        "float32, channels last": run(backbone, channels_last),
        "bfloat16, channels last": run(half, channels_last.bfloat16()),
        "float32, fused": run(fused, channels_last),
        "bfloat16, fused": run(fused_half, channels_last.bfloat16()),
    }


def openvino_pass(backbone: Backbone, images: Tensor) -> Callable[[], object]:
    """The whole network compiled for images of this shape, on one thread."""
    import openvino

    model = openvino.convert_model(backbone, example_input=images, input=list(images.shape))
    hints = {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    compiled = openvino.compile_model(model, "CPU", hints)
    batch = images.numpy()
    return lambda: compiled(batch)


def training_steps(backbone: Backbone, images: Tensor, num_stages: int) -> dict[str, Callable[[], object]]:
    stages = list(backbone.stages)
    first = stages[-num_stages]
    for stage in stages[-num_stages:]:
        backbone.stages[stage].requires_grad_(True)
        freeze_depthwise(backbone.stages[stage])  # as shipped
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    with torch.no_grad():
        border = backbone.forward_range(images, None, stages[-num_stages - 1])
    border = border.contiguous(memory_format=torch.channels_last) if border.ndim == 4 else border

    def run(network: Backbone) -> Callable[[], object]:
        weights = HeldWeights(network, parameters)

        def step() -> object:
            with weights.held():
                pooled = backbone.pool(network.forward_range(border, first, None))
                return weights.through(added([], weights.gradients(pooled.mean())))

        return step

    return {
        "float32, large pages": run(backbone),
        "folded, large products in bfloat16": run(
            mix_precision(backbone, first, border[:1], dtype=torch.bfloat16)
        ),
    }


def show(title: str, variants: dict[str, Callable[[], float]], repeats: int) -> None:
    times_ms: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(repeats + 1):
        for name, time_once in variants.items():
            time_ms = time_once()
            if repeat:  # the first pays for what is set up once
                times_ms[name].append(time_ms)
    print(title)
    plain = times_ms[PLAIN]
    for name, values in times_ms.items():
        ratio = statistics.median(one / other for one, other in zip(plain, values, strict=True))
        print(f"  {name:36s} {statistics.median(values):7.1f} ms an image, {ratio:4.1f} times {PLAIN}")


if __name__ == "__main__":
    main()
