"""How far bfloat16 features are from float32's: `python benchmarks/rounding.py efficientnet_lite0 --folder FOLDER`.

In parts of a feature's standard deviation over images, the median over features: `shift`, the same in every image, and
`scatter`, the standard deviation of what is left. Of the network as rounded, and with rounding's shift taken back.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from kedro.config import OmegaConfigLoader

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.fused import fuse
from regraft.backbones.weights import input_contract, load_weights
from regraft.classifier.classifier import normalize_pixels
from regraft.images.index import index_images
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing
from regraft.images.sources import ElpvSource, FolderSource, demo_files, list_images
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.normalize import NormalizeOptions
from regraft.training.frozen import frozen_network
from regraft.training.reproducibility import Compute


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+")
    parser.add_argument(
        "--folder", type=Path, help="of class folders; the demonstration's images if left out"
    )
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    for name in arguments.networks:
        measure(name, arguments.folder, arguments.images)


def measure(name: str, folder: Path | None, num_images: int) -> None:
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    options = BuildBackboneOptions.model_validate({**parameters["build_backbone"], "name": name})
    preprocessing = NormalizeOptions.model_validate(parameters["normalize"]).preprocessing(
        input_contract(options.spec, options.weights)
    )
    pixels = prepared(folder, num_images, preprocessing)
    weights, receipt = load_weights(options.spec, options.weights)
    backbone = build_backbone(name, weights=weights, cut=None, receipt=receipt)
    freeze(backbone)
    compute = Compute(torch.device("cpu"), torch.bfloat16, num_streams=1, deterministic=True)
    exact = features(fuse(backbone, size=preprocessing.size), pixels, preprocessing, torch.float32)
    spread = exact.std(axis=0)
    varies = spread > 1e-3 * np.median(spread)
    print(f"{name}, {len(pixels)} images, {varies.sum()} features of the last stage")
    for what, network in (
        ("rounded", fuse(backbone, size=preprocessing.size).to(torch.bfloat16)),
        ("shift taken back", frozen_network(backbone, pixels, preprocessing, compute=compute)),
    ):
        change = features(network, pixels, preprocessing, torch.bfloat16) - exact
        shift, scatter = (
            np.median(part[varies] / spread[varies])
            for part in (np.abs(change.mean(axis=0)), change.std(axis=0))
        )
        print(f"  {what:17s} shift {shift:.4f}, scatter {scatter:.4f}", flush=True)


def prepared(folder: Path | None, num_images: int, preprocessing: Preprocessing) -> np.ndarray:
    source: ElpvSource | FolderSource = FolderSource(path=folder) if folder else ElpvSource()
    if isinstance(source, ElpvSource):
        source = source.model_copy(update={"path": next(iter(demo_files(source).values())).parent})
    listing = list_images(source)
    rows = np.unique(np.linspace(0, len(listing) - 1, num_images).astype(int))
    index, _, _ = index_images(
        listing.iloc[rows].reset_index(drop=True),
        max_unreadable_fraction=0,
        exclude=(),
        on_progress=lambda *_: None,
    )
    return np.concatenate(list(normalize_images(index, preprocessing, num_workers=1, block_rows=64)))


def features(
    network: Backbone, pixels: np.ndarray, preprocessing: Preprocessing, dtype: torch.dtype
) -> np.ndarray:
    """`(N, D)` of the last stage."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(pixels), 8):
            images = normalize_pixels(torch.from_numpy(pixels[start : start + 8]), preprocessing).to(dtype)
            found.append(list(network.forward_features(images).values())[-1].float().numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
