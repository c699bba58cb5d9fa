"""Accuracy on the demonstration data over several splits: `python benchmarks/elpv.py --seeds 5`.

Other settings than the shipped ones: `--set build_backbone.name=efficientnet_lite1`, as often as needed.

Runs the product's own steps with the shipped configuration, random stratified 75/25 as Deitsch et al. 2019 and with
whole modules held out, and prints mean and spread of probe and fine-tuned model on the test images.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from kedro.config import OmegaConfigLoader

from regraft.adapters.datasets import ArrayFolder
from regraft.adapters.unfinished import write_blocks
from regraft.backbones.backbone import build_backbone, freeze
from regraft.backbones.stage_choice import choose_head_stages
from regraft.backbones.weights import input_contract, load_weights
from regraft.classifier import assemble
from regraft.classifier.views import num_views
from regraft.evaluation.predict import predict_images
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
from regraft.training.balanced_head import fit_balanced_head
from regraft.training.features import extract_features
from regraft.training.fine_tune import fine_tune, labelled
from regraft.training.reproducibility import reproducible


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--splits", default="random,grouped")
    parser.add_argument(
        "--set", action="append", default=[], help="fine_tune.max_epochs=4: any value in YAML"
    )
    arguments = parser.parse_args()
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    for assignment in arguments.set:
        path, _, value = assignment.partition("=")
        step, *keys, last = path.split(".")
        target = parameters[step]
        for key in keys:
            target = target[key]
        target[last] = yaml.safe_load(value)
    with tempfile.TemporaryDirectory() as folder:
        run(parameters, Path(folder), arguments.seeds, arguments.splits.split(","))


def run(parameters: dict[str, Any], folder: Path, num_seeds: int, splits: list[str]) -> None:
    ingest = IngestOptions.model_validate(parameters["ingest"])
    backbone_options = BuildBackboneOptions.model_validate(parameters["build_backbone"])
    compute = ComputeOptions.model_validate(parameters["compute"]).resolve()
    source = ingest.source.model_copy(update={"path": next(iter(demo_files(ingest.source).values())).parent})
    index, _, _ = index_images(
        list_images(source), max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None
    )
    preprocessing = NormalizeOptions.model_validate(parameters["normalize"]).preprocessing(
        input_contract(backbone_options.spec, backbone_options.weights)
    )
    pixels = stored(
        folder / "pixels.npy", normalize_images(index, preprocessing, num_workers=2, block_rows=256)
    )
    weights, receipt = load_weights(backbone_options.spec, backbone_options.weights)
    backbone = build_backbone(
        backbone_options.name,
        weights=weights,
        cut=backbone_options.cut,
        receipt=receipt,
        pooling=backbone_options.pooling,
    )
    freeze(backbone)
    views = range(num_views(backbone_options.views))
    with reproducible(compute):
        blocks = extract_features(
            backbone,
            pixels,
            preprocessing,
            batch_size=compute.images_a_pass(backbone_options.batch_size, size=preprocessing.size),
            compute=compute,
            views=views,
        )
        features = stored(folder / "features.npy", blocks)
    for kind in splits:
        accuracies: dict[str, list[float]] = {"probe": [], "fine_tuned": []}
        for seed in range(num_seeds):
            started_s = time.monotonic()
            manifest, label_names = build_manifest(
                index,
                ingest.split.model_copy(update={"kind": kind, "seed": seed}),
                min_images_per_class=ingest.min_images_per_class,
                label_order=label_order(source),
            )
            for model, accuracy in one_split(
                parameters,
                seed,
                manifest,
                label_names,
                features,
                backbone,
                pixels,
                preprocessing,
                compute,
                folder,
            ).items():
                accuracies[model].append(accuracy)
            line = ", ".join(f"{model} {values[-1]:.2%}" for model, values in accuracies.items())
            print(f"{kind} seed {seed}: {line} ({time.monotonic() - started_s:.0f} s)", flush=True)
        for model, values in accuracies.items():
            spread = f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else ""
            print(
                f"{kind}, {model}: {statistics.mean(values):.2%}{spread} over {num_seeds} seeds", flush=True
            )


def one_split(
    parameters: dict[str, Any],
    seed: int,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    features: np.ndarray,
    backbone: Any,
    pixels: np.ndarray,
    preprocessing: Any,
    compute: Any,
    folder: Path,
) -> dict[str, float]:
    """Test accuracy of probe and fine-tuned model."""
    train_head = TrainHeadOptions.model_validate(parameters["train_head"])
    options = FineTuneOptions.model_validate({**parameters["fine_tune"], "seed": seed})
    head, _, balance = fit_balanced_head(
        features[: len(manifest)],
        backbone.feature_dims,
        manifest,
        label_names,
        layers=train_head.head.layers(),
        settings=train_head.head.settings(),
        balance=train_head.balance,
        stages=choose_head_stages(train_head.features, tuple(backbone.stages)),
        learn_from=train_head.learn_from,
        view_features=features[len(manifest) :],
        views_seen=train_head.views_seen,
    )
    probe = assemble(backbone, head, preprocessing, views=options.predict_views)
    with reproducible(compute):
        tuned = fine_tune(
            probe,
            *(
                labelled(
                    pixels,
                    manifest,
                    split,
                    "label",
                    balance["chosen"],
                    learn_from=train_head.learn_from,
                    label_names=head.target.label_names,
                )
                for split in ("train", "val")
            ),
            settings=options.settings(),
            compute=compute,
            store=ArrayFolder(folder=str(folder / "activations"), max_bytes=1e11),
            save_points=NoSavePoints(),
        )
        for row in tuned.history:
            print("   ", {name: round(value, 4) for name, value in row.items()}, file=sys.stderr, flush=True)
        models = {"probe": probe, "fine_tuned": tuned.classifier}
        predictions = predict_images(models, pixels, manifest, batch_size=8, compute=compute)
    test = predictions[predictions["split"] == "test"]
    return {
        model: float((rows["predicted"] == rows["label"]).mean())
        for model, rows in ((model, test[test["model"] == model]) for model in models)
    }


def stored(path: Path, blocks: Any) -> np.ndarray:
    """Blocks as a memory-mapped array."""
    write_blocks(path, blocks, task="", circumstances=None)
    return np.load(path, mmap_mode="r")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
