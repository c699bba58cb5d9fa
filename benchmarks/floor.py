"""How far a frozen pass is from the machine's floor: `python benchmarks/floor.py efficientnet_lite0 resnet50`.

The floor of a network: each convolution and linear layer by itself, the longer of its FLOPs over the measured peak (a
large matrix product) and the bytes of its input, weights and output over the measured bandwidth (a large copy); norms,
activations and sums cost nothing. Peaks, bandwidth and passes are taken in turn in one run on one thread; CPU time, the
best of some repeats for peaks, the median for passes. Random weights: a pass costs the same with any.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.images.preprocessing import Preprocessing
from regraft.training.frozen import frozen_network
from regraft.training.reproducibility import Compute

MATRIX = 2048
COPY_BYTES = 2**28


@dataclass(frozen=True)
class Layer:
    """Work of one layer for one batch; a multiplication and its addition are two FLOPs."""

    flops: float
    num_values: int

    def floor_s(self, peak: float, bandwidth: float, value_bytes: int) -> float:
        return max(self.flops / peak, self.num_values * value_bytes / bandwidth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "networks", nargs="*", default=["efficientnet_lite0", "resnet50", "mobilenet_v3_large"]
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    os.environ["THP_MEM_ALLOC_ENABLE"] = "1"  # as regraft/settings.py; read once, before the first tensor
    torch.set_num_threads(1)
    columns = (
        "GFLOP/s",
        "GB/s",
        "GFLOP an image",
        "FLOPs / peak, ms",
        "floor, ms",
        "pass, ms",
        "times the floor",
    )
    print("| network | | " + " | ".join(columns) + " |\n|---|---|" + "---:|" * len(columns))
    for name in arguments.networks:
        for dtype in (torch.float32, torch.bfloat16):
            print(line(name, dtype, arguments), flush=True)


def line(name: str, dtype: torch.dtype, arguments: argparse.Namespace) -> str:
    """A row of the table."""
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    size = spec.fixed_size or 224
    images = torch.randn(arguments.batch_size, 3, size, size)
    layers = layers_of(backbone, images)
    compute = Compute(device=torch.device("cpu"), fast_dtype=dtype, num_streams=1, deterministic=True)
    preprocessing = Preprocessing(
        size=size, resize_size=size, fit="stretch", interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    pixels = torch.randint(0, 256, (8, size, size, 3), dtype=torch.uint8).numpy()
    network = frozen_network(backbone, pixels, preprocessing, compute=compute)
    batch = images.to(dtype).contiguous(memory_format=torch.channels_last)

    left, right = torch.randn(2, MATRIX, MATRIX).to(dtype)
    source, target = torch.ones(2, COPY_BYTES // 4)
    times_s = in_turn(
        {
            "product": lambda: left @ right,
            "copy": lambda: target.copy_(source),
            "pass": lambda: network.forward_features(batch),
        },
        arguments.repeats,
    )
    peak = 2 * MATRIX**3 / min(times_s["product"])
    bandwidth = 2 * COPY_BYTES / min(times_s["copy"])  # read and written
    flops_s = sum(layer.flops for layer in layers) / peak
    floor_s = sum(layer.floor_s(peak, bandwidth, dtype.itemsize) for layer in layers)
    pass_s = statistics.median(times_s["pass"])
    per_image_ms = [seconds / arguments.batch_size * 1e3 for seconds in (flops_s, floor_s, pass_s)]
    gflop = sum(layer.flops for layer in layers) / arguments.batch_size / 1e9
    cells = [
        name,
        str(dtype).removeprefix("torch."),
        f"{peak / 1e9:.0f}",
        f"{bandwidth / 1e9:.1f}",
        f"{gflop:.2f}",
        *(f"{milliseconds:.2f}" for milliseconds in per_image_ms),
        f"{pass_s / floor_s:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def layers_of(backbone: Backbone, images: Tensor) -> list[Layer]:
    """Every convolution and linear layer that a batch runs through."""
    layers: list[Layer] = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        weight = module.weight
        num_values = inputs[0].numel() + weight.numel() + output.numel()
        layers.append(Layer(2.0 * output.numel() * weight[0].numel(), num_values))

    hooks = [
        module.register_forward_hook(note)
        for module in backbone.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.inference_mode():
        backbone(images)
    for hook in hooks:
        hook.remove()
    return layers


def in_turn(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each, by repeat; the first round pays for what is set up once and is left out."""
    times_s: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            started_s = time.process_time()
            with torch.inference_mode():
                work()
            if repeat:
                times_s[name].append(time.process_time() - started_s)
    return times_s


if __name__ == "__main__":
    main()
