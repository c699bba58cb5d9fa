"""What folding, fusing and bfloat16 gain: `python benchmarks/passes.py efficientnet_lite0:3 resnet50:1 vgg16:1`.

For each `backbone:stages` the frozen forward pass of the whole network, and the training step (forward and back) of its
last stages, each in its variants, taken in turn on one thread: CPU milliseconds an image, medians, and the ratio to
plain float32. Random weights: a pass costs the same with any.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.fused import fuse
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.training.fine_tune import freeze_depthwise
from regraft.training.mixed import mix_precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", metavar="backbone:stages")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for network in arguments.networks:
        name, _, num_stages = network.partition(":")
        spec = get_spec(name)
        weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
        backbone = build_backbone(name, weights=weights, cut=None)
        freeze(backbone)
        size = spec.fixed_size or 224
        images = torch.randn(arguments.batch_size, 3, size, size)
        show(f"{name}, {size} px, frozen pass", frozen_passes(backbone, images), arguments)
        if num_stages:
            steps = training_steps(backbone, images, int(num_stages))
            show(f"{name}, training step of the last {num_stages} stages", steps, arguments)


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
        "float32": run(backbone, images),
        "float32, channels last": run(backbone, channels_last),
        "bfloat16, channels last": run(half, channels_last.bfloat16()),
        "float32, fused": run(fused, channels_last),
        "bfloat16, fused": run(fused_half, channels_last.bfloat16()),
    }


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
        def step() -> object:
            pooled = backbone.pool(network.forward_range(border, first, None).float())
            return torch.autograd.grad(pooled.mean(), parameters)

        return step

    return {
        "float32": run(backbone),
        "folded, large products in bfloat16": run(
            mix_precision(backbone, first, border[:1], dtype=torch.bfloat16)
        ),
    }


def show(title: str, variants: dict[str, Callable[[], object]], arguments: argparse.Namespace) -> None:
    times_ms: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(arguments.repeats + 1):
        for name, variant in variants.items():
            started_s = time.process_time()
            variant()
            if repeat:  # the first pays for what is set up once
                times_ms[name].append((time.process_time() - started_s) / arguments.batch_size * 1e3)
    print(title)
    plain = times_ms["float32"]
    for name, values in times_ms.items():
        ratio = statistics.median(one / other for one, other in zip(plain, values, strict=True))
        print(f"  {name:36s} {statistics.median(values):7.1f} ms an image, {ratio:4.1f} times float32")


if __name__ == "__main__":
    main()
