"""Images a second on a GPU: frozen features and fine-tuning against the ceiling and timm: `python benchmarks/gpu.py`.

Draws JPEG files, then for each network, in bfloat16 and in turn:

* decoding: the product's own, once, on all cores; no later line pays for it;
* frozen features: the product's function on those pixels | the same network on a batch that is on the device already
  (the ceiling) | timm's loader and evaluation loop on the files;
* fine-tuning of everything: the product's function, one epoch on the same pixels | the same network's step on a batch
  that is on the device already | timm's loader and training loop on the files.

Without a GPU it says so and ends with status 2; `--device cpu --images 64` tries its logic.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from kedro.config import OmegaConfigLoader
from PIL import Image
from timm import create_model
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn

from regraft.adapters.datasets import ArrayFolder
from regraft.adapters.unfinished import write_blocks
from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.classifier import assemble
from regraft.images.index import index_images
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.train_head import MlpHeadOptions
from regraft.save_points import NoSavePoints
from regraft.training.features import extract_features
from regraft.training.fine_tune import fine_tune, labelled
from regraft.training.frozen import frozen_network
from regraft.training.head import fit_head
from regraft.training.reproducibility import Compute, choose_device, reproducible

NETWORKS = {  # ours: timm's
    "resnet50": "resnet50",
    "efficientnet_b0": "efficientnet_b0",
    "vit_b_16": "vit_base_patch16_224",
}
SIZE, DRAWN = 224, (400, 300)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print(
            "no GPU that PyTorch can use; `--device cpu --images 64 --batch-size 8` tries the benchmark's logic"
        )
        sys.exit(2)
    device = choose_device(arguments.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(
        f"{name}, {os.cpu_count()} cores, torch {torch.__version__}; images a second, medians of {arguments.repeats}"
    )
    compute = Compute(device, torch.bfloat16, len(os.sched_getaffinity(0)), deterministic=False)
    with tempfile.TemporaryDirectory() as folder, reproducible(compute):
        files = Path(folder) / "files"
        draw_all(files / "train", arguments.images)
        manifest, pixels = decode(files / "train", Path(folder), compute, arguments.images)
        for network in arguments.networks.split(","):
            measure(network, manifest, pixels, files, compute, arguments)


def measure(
    name: str,
    manifest: pd.DataFrame,
    pixels: np.ndarray,
    files: Path,
    compute: Compute,
    arguments: argparse.Namespace,
) -> None:
    """Two groups of three lines."""
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    batch_size, num_images = arguments.batch_size, arguments.images
    num_train = int((manifest["split"] == "train").sum())
    ours, ceiling = f"{name}: regraft", f"{name}: batch on the device"
    show(
        "frozen features",
        {
            ours: (num_images, lambda: frozen_features(backbone, pixels, compute, batch_size)),
            ceiling: (num_images, lambda: synthetic_features(backbone, num_images, compute, batch_size)),
            f"{name}: timm": (num_images, lambda: timm_features(NETWORKS[name], files, compute, batch_size)),
        },
        ours,
        arguments.repeats,
    )
    show(
        "fine-tuning of everything, one epoch",
        {
            ours: (num_train, lambda: tune(backbone, manifest, pixels, compute, batch_size)),
            ceiling: (num_train, lambda: synthetic_steps(backbone, num_train, compute, batch_size)),
            f"{name}: timm": (num_images, lambda: timm_epoch(NETWORKS[name], files, compute, batch_size)),
        },
        ours,
        arguments.repeats,
    )


def show(title: str, works: dict[str, tuple[int, Callable[[], float]]], ours: str, repeats: int) -> None:
    """Each in turn; the first round is left out, since it pays for what is set up once."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, (num_images, work) in works.items():
            seconds = work()
            if repeat:
                rates[name].append(num_images / seconds)
    print(title)
    for name, values in rates.items():
        ratio = statistics.median(one / other for one, other in zip(rates[ours], values, strict=True))
        print(
            f"  {name:40s} {statistics.median(values):9.1f} images a second; regraft has {ratio:.0%} of it",
            flush=True,
        )


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Wall seconds until the device has ended."""
    synchronise(device)
    started_s = time.monotonic()
    work()
    synchronise(device)
    return time.monotonic() - started_s


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


# Ours


def frozen_features(backbone: Backbone, pixels: np.ndarray, compute: Compute, batch_size: int) -> float:
    blocks = extract_features(backbone, pixels, PREPROCESSING, batch_size=batch_size, compute=compute)
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: stored(Path(folder) / "features.npy", blocks), compute.device)


def tune(
    backbone: Backbone, manifest: pd.DataFrame, pixels: np.ndarray, compute: Compute, batch_size: int
) -> float:
    """One epoch of all stages; its val split is a batch, and is measured twice."""
    width = sum(backbone.feature_dims.values())
    options = MlpHeadOptions(kind="mlp", hidden_sizes=(1,), max_epochs=200, patience=1)
    drawn = np.random.default_rng(0).standard_normal((len(pixels), width), np.float32)
    head, _ = fit_head(
        drawn,
        backbone.feature_dims,
        manifest,
        {"label": ["few", "many"]},
        layers=options.layers(),
        settings=options.settings(),
    )
    probe = assemble(backbone, head, PREPROCESSING, views="identity")
    shipped = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]["fine_tune"]
    changes = {
        "unfreeze": "all",
        "depthwise": "trained",
        "max_epochs": 1,
        "views": "mirror",
        "batch_size": batch_size,
        "micro_batch_size": batch_size,
    }
    settings = FineTuneOptions.model_validate(shipped | changes).settings()
    splits = [labelled(pixels, manifest, split, "label") for split in ("train", "val")]
    with tempfile.TemporaryDirectory() as folder:
        store = ArrayFolder(folder=folder, max_bytes=1e12)
        return timed(
            lambda: fine_tune(
                probe, *splits, settings=settings, compute=compute, store=store, save_points=NoSavePoints()
            ),
            compute.device,
        )


# The ceiling


def synthetic_features(backbone: Backbone, num_images: int, compute: Compute, batch_size: int) -> float:
    pixels = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    network = frozen_network(backbone, pixels, PREPROCESSING, compute=compute)
    batch = drawn_batch(compute, batch_size, compute.fast_dtype)

    def run() -> None:
        with torch.inference_mode():
            for _ in range(0, num_images, batch_size):
                network.forward_features(batch)

    return timed(run, compute.device)


def synthetic_steps(backbone: Backbone, num_images: int, compute: Compute, batch_size: int) -> float:
    model = nn.Sequential(*(stage for _, stage in backbone.stages.items())).to(compute.device)
    model.requires_grad_(True)
    head = nn.Linear(backbone.feature_dim, 2, device=compute.device)
    optimizer = torch.optim.AdamW(
        [*model.parameters(), *head.parameters()], fused=compute.device.type == "cuda"
    )
    batch = drawn_batch(compute, batch_size, torch.float32)
    labels = torch.arange(batch_size, device=compute.device) % 2

    def run() -> None:
        for _ in range(0, num_images, batch_size):
            with torch.autocast(compute.device.type, compute.fast_dtype):
                loss = nn.functional.cross_entropy(head(backbone.pool(model(batch))).float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    seconds = timed(run, compute.device)
    model.requires_grad_(False).cpu()
    return seconds


def drawn_batch(compute: Compute, batch_size: int, dtype: torch.dtype) -> Tensor:
    batch = torch.randn(batch_size, 3, SIZE, SIZE, device=compute.device, dtype=dtype)
    return batch.contiguous(memory_format=torch.channels_last)


# timm


def timm_loader(files: Path, compute: Compute, batch_size: int, *, is_training: bool):
    dataset = create_dataset("", root=files, split="train", is_training=is_training)
    workers = compute.num_streams if compute.device.type == "cuda" else 0
    return create_loader(
        dataset,
        input_size=(3, SIZE, SIZE),
        batch_size=batch_size,
        is_training=is_training,
        num_workers=workers,
        persistent_workers=False,
        pin_memory=True,
        use_prefetcher=compute.device.type == "cuda",
        device=compute.device,
    )


def timm_features(name: str, files: Path, compute: Compute, batch_size: int) -> float:
    model = create_model(name, num_classes=0).to(compute.device, memory_format=torch.channels_last).eval()
    loader = timm_loader(files, compute, batch_size, is_training=False)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(compute.device.type, compute.fast_dtype):
            for images, _ in loader:
                model(images.contiguous(memory_format=torch.channels_last)).float().cpu()

    return timed(run, compute.device)


def timm_epoch(name: str, files: Path, compute: Compute, batch_size: int) -> float:
    model = create_model(name, num_classes=2).to(compute.device, memory_format=torch.channels_last).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-4)
    loader = timm_loader(files, compute, batch_size, is_training=True)

    def run() -> None:
        for images, labels in loader:
            with torch.autocast(compute.device.type, compute.fast_dtype):
                output = model(images.contiguous(memory_format=torch.channels_last))
                loss = nn.functional.cross_entropy(output.float(), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return timed(run, compute.device)


# Images

PREPROCESSING = Preprocessing(
    size=SIZE,
    resize_size=SIZE,
    fit="stretch",
    interpolation="bilinear",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


def draw_all(folder: Path, num_images: int) -> None:
    """JPEG files of blots, large ones in one class folder, small ones in the other."""
    for number in range(num_images):
        label = ("few", "many")[number % 2]
        path = folder / label / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cells = (4, 16)[number % 2]
        blots = np.random.default_rng(number).integers(0, 256, (cells, cells, 3), np.uint8)
        Image.fromarray(blots).resize(DRAWN, Image.Resampling.BICUBIC).save(path, quality=90)


def decode(folder: Path, scratch: Path, compute: Compute, num_images: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The manifest and its pixels; every tenth image is val's, 64 at most."""
    paths = sorted(path.as_posix() for path in folder.rglob("*.jpg"))
    listing = pd.DataFrame({"path": paths, "label": "a", "group": None, "split": None})
    index, _, _ = index_images(listing, max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None)
    is_val = (np.arange(num_images) % 10 == 0) & (np.arange(num_images) < 640)
    manifest = index.assign(
        label=[int("/many/" in path) for path in index["path"]], split=np.where(is_val, "val", "train")
    )
    blocks = normalize_images(manifest, PREPROCESSING, num_workers=compute.num_streams, block_rows=256)
    started_s = time.monotonic()
    pixels = stored(scratch / "pixels.npy", blocks)
    print(f"decoding {num_images / (time.monotonic() - started_s):.0f} images a second, once")
    return manifest, pixels


def stored(path: Path, blocks) -> np.ndarray:
    write_blocks(path, blocks, task="", circumstances=None)
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    main()
