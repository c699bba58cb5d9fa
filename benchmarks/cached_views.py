"""Cached views against augmenting anew in every epoch: `python benchmarks/cached_views.py --seeds 5 --images 600`.

Fine-tunes the shipped classifier on some cells of the demonstration three ways, taken in turn for each seed (split,
order, views): from activations kept once a view; from activations computed anew whenever a batch asks for them; and so
in float32 throughout. Views are flips, a finite set, so both ways show the network the same pixels: what can differ is
rounding. Prints test accuracy and CPU seconds by seed, and the mean of paired differences with its standard error.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from elpv import stored
from kedro.config import OmegaConfigLoader

from regraft.adapters.datasets import ArrayFolder
from regraft.backbones.backbone import build_backbone, freeze
from regraft.backbones.weights import input_contract, load_weights
from regraft.classifier import Classifier, assemble
from regraft.evaluation.predict import predict_images
from regraft.images.blocks import ArrayBlocks
from regraft.images.index import index_images
from regraft.images.manifest import build_manifest
from regraft.images.pixels import normalize_images
from regraft.images.sources import demo_files, label_order, list_images
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.save_points import NoSavePoints
from regraft.training.border import ArrayStore
from regraft.training.features import extract_features
from regraft.training.fine_tune import fine_tune, labelled
from regraft.training.head import fit_head
from regraft.training.reproducibility import Compute, reproducible

CACHED, ANEW, PRECISE = "cached", "anew", "anew, float32"


@dataclass(frozen=True)
class Rows:
    """Rows computed whenever they are asked for."""

    blocks: ArrayBlocks

    def __getitem__(self, row: int) -> np.ndarray:
        return self.blocks.compute(row, row + 1)[0]


class NothingKept:
    """A store that keeps no array."""

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> Any:
        return Rows(blocks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, help="of all splits together; all there are")
    parser.add_argument("--epochs", type=int, help="as shipped")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    if arguments.epochs:
        parameters["fine_tune"]["max_epochs"] = arguments.epochs
    accuracies: dict[str, list[float]] = {CACHED: [], ANEW: [], PRECISE: []}
    costs: dict[str, list[float]] = {CACHED: [], ANEW: [], PRECISE: []}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for way, (accuracy, cpu_s) in one_seed(parameters, seed, arguments.images, Path(folder)).items():
                accuracies[way].append(accuracy)
                costs[way].append(cpu_s)
                print(f"seed {seed}, {way}: test accuracy {accuracy:.2%}, {cpu_s:.0f} CPU s", flush=True)
    for way in (ANEW, PRECISE):
        gains = [one - other for one, other in zip(accuracies[CACHED], accuracies[way], strict=True)]
        error = f" ± {statistics.stdev(gains) / len(gains) ** 0.5:.2%}" if len(gains) > 1 else ""
        cheaper = statistics.median(other / one for one, other in zip(costs[CACHED], costs[way], strict=True))
        print(
            f"{CACHED} against {way}: {statistics.mean(gains):+.2%}{error} accuracy, {cheaper:.1f} times cheaper"
        )


def one_seed(
    parameters: dict[str, Any], seed: int, num_images: int | None, folder: Path
) -> dict[str, tuple[float, float]]:
    """Test accuracy and CPU seconds of fine-tuning each way."""
    ingest = IngestOptions.model_validate(parameters["ingest"])
    compute = ComputeOptions.model_validate({**parameters["compute"], "num_workers": 1}).resolve()
    backbone_options = BuildBackboneOptions.model_validate(parameters["build_backbone"])
    options = FineTuneOptions.model_validate({**parameters["fine_tune"], "seed": seed})
    head_options = TrainHeadOptions.model_validate(parameters["train_head"]).head

    source = ingest.source.model_copy(update={"path": next(iter(demo_files(ingest.source).values())).parent})
    listing = list_images(source)
    if num_images:
        listing = listing.sample(num_images, random_state=seed).sort_values("path")
    index, _, _ = index_images(listing, max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None)
    manifest, label_names = build_manifest(
        index,
        ingest.split.model_copy(update={"kind": "random", "seed": seed}),
        min_images_per_class=2,
        label_order=label_order(source),
    )
    preprocessing = NormalizeOptions.model_validate(parameters["normalize"]).preprocessing(
        input_contract(backbone_options.spec, backbone_options.weights)
    )
    pixels = stored(
        folder / "pixels.npy", normalize_images(manifest, preprocessing, num_workers=1, block_rows=256)
    )
    weights, _ = load_weights(backbone_options.spec, backbone_options.weights)
    backbone = build_backbone(backbone_options.name, weights=weights, cut=backbone_options.cut)
    freeze(backbone)
    features = stored(
        folder / "features.npy",
        extract_features(backbone, pixels, preprocessing, batch_size=8, compute=compute),
    )
    layers, settings = head_options.layers(), head_options.settings()
    head, _ = fit_head(
        features, backbone.feature_dims, manifest, label_names, layers=layers, settings=settings
    )
    probe = assemble(backbone, head, preprocessing, views=options.predict_views)
    ways: dict[str, tuple[ArrayStore, Compute]] = {
        CACHED: (ArrayFolder(folder=str(folder / "activations"), max_bytes=1e11), compute),
        ANEW: (NothingKept(), compute),
        PRECISE: (NothingKept(), replace(compute, fast_dtype=torch.float32)),
    }
    results = {}
    for way, (store, way_of_computing) in ways.items():
        started_s = time.process_time()
        with reproducible(way_of_computing):
            tuned = fine_tune(
                probe,
                labelled(pixels, manifest, "train", "label"),
                labelled(pixels, manifest, "val", "label"),
                settings=options.settings(),
                compute=way_of_computing,
                store=store,
                save_points=NoSavePoints(),
            ).classifier
            cpu_s = time.process_time() - started_s
            results[way] = (test_accuracy(tuned, pixels, manifest, compute), cpu_s)
    return results


def test_accuracy(
    classifier: Classifier, pixels: np.ndarray, manifest: pd.DataFrame, compute: Compute
) -> float:
    rows = predict_images({"tuned": classifier}, pixels, manifest, batch_size=8, compute=compute)
    test = rows[rows["split"] == "test"]
    return float((test["predicted"] == test["label"]).mean())


if __name__ == "__main__":
    main()
