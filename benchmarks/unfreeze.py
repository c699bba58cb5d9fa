"""What `unfreeze: auto` loses against trying everything: `python benchmarks/unfreeze.py elpv FOLDER FILE.csv:label`.

Every candidate is trained in full and measured on test images (the exhaustive search), and the search weighs them by
`val` alone. Each result is a file in `--results`, so a stopped benchmark goes on where it was, and only what
is missing is run. A data set is `elpv`, a folder of class folders (or of train/ and val/ with class folders in them),
or `FILE.csv:label column[:path column[:folder of images]]`.
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kedro.config import OmegaConfigLoader

from regraft.adapters.datasets import ArrayFolder
from regraft.backbones.backbone import build_backbone, freeze
from regraft.backbones.stage_choice import Unfreeze, candidates, said_in_words
from regraft.backbones.weights import input_contract, load_weights
from regraft.classifier import Classifier, assemble
from regraft.evaluation.predict import predict_images
from regraft.evaluation.predictions import probability_columns
from regraft.images.index import index_images
from regraft.images.manifest import build_manifest
from regraft.images.pixels import normalize_images
from regraft.images.sources import CsvSource, ElpvSource, FolderSource, demo_files, label_order, list_images
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.save_points import InMemory, NoSavePoints
from regraft.training.features import extract_features
from regraft.training.fine_tune import FineTuned, FineTuneSettings, Labelled, fine_tune, labelled
from regraft.training.head import fit_head
from regraft.training.interpolation import interpolate
from regraft.training.reproducibility import Compute, numpy_generator, reproducible
from regraft.training.stage_training import examples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="+", metavar="dataset")
    parser.add_argument("--images", type=int, default=400, help="drawn from each data set")
    parser.add_argument("--val", type=float, default=0.2, help="fraction of them to choose on")
    parser.add_argument("--test", type=float, default=0.3, help="fraction of them to measure on")
    parser.add_argument("--size", type=int, default=128, help="of an image, in pixels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("data/08_reporting/unfreeze_benchmark"))
    parser.add_argument("--set", action="append", default=[], help="fine_tune.max_epochs=4: a JSON value")
    parser.add_argument("--scratch", action="store_true", help="also train from random weights")
    parser.add_argument("--table", action="store_true", help="run nothing, show what there is")
    arguments = parser.parse_args()
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    parameters["normalize"]["size"] = arguments.size
    parameters["fine_tune"] |= {"views": "mirror", "predict_views": "identity"}
    for assignment in arguments.set:
        path, _, value = assignment.partition("=")
        step, key = path.split(".")
        parameters[step][key] = json.loads(value)
    for dataset in arguments.datasets:
        name = Path(dataset.partition(":")[0]).resolve().stem if dataset != "elpv" else "elpv"
        folder = (
            arguments.results / f"{name}-{arguments.images}-{arguments.size}-{arguments.val}-{arguments.test}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        if not arguments.table:
            run(dataset, parameters, folder, arguments)
        show(name, folder)


def run(dataset: str, parameters: dict[str, Any], folder: Path, arguments: argparse.Namespace) -> None:
    compute = ComputeOptions.model_validate(parameters["compute"]).resolve()
    options = FineTuneOptions.model_validate(parameters["fine_tune"])
    backbone_options = BuildBackboneOptions.model_validate(parameters["build_backbone"])
    weights, receipt = load_weights(backbone_options.spec, backbone_options.weights)
    backbone = build_backbone(backbone_options.name, weights=weights, cut=None, receipt=receipt)
    freeze(backbone)
    choices = candidates(dict(backbone.stages.items()))
    by_name: dict[str, Unfreeze] = {said_in_words(choice): choice for choice in choices} | {"auto": "auto"}
    wanted = [*(["scratch"] if arguments.scratch else []), *by_name]
    prepared = None
    for seed in range(arguments.seeds):
        missing = [name for name in wanted if not (folder / f"{seed}-{name}.json").exists()]
        if not missing:
            continue
        prepared = prepared or prepare(dataset, parameters, arguments.images, backbone_options, compute)
        split = {"val_fraction": arguments.val, "test_fraction": arguments.test, "seed": seed}
        probe, manifest, splits, pixels = probe_of(prepared, backbone, parameters, split, compute)
        store = ArrayFolder(folder=str(folder / "activations"), max_bytes=2e10)
        for name in missing:
            how = {"start": "scratch"} if name == "scratch" else {"unfreeze": by_name[name]}
            changed = options.model_copy(update={"seed": seed, **how}).settings()
            started_s = time.process_time()
            with reproducible(compute):
                shared: dict[str, Any] = {"compute": compute, "store": store}
                if name == "auto":
                    tuned = fine_tune(probe, *splits, settings=changed, save_points=InMemory(), **shared)
                    counting = [
                        f"{row['candidate']} {row['weight']:.0%}" for row in tuned.search if row["weight"]
                    ]
                    result: dict[str, Any] = {"chosen": ", ".join(counting), "trials": tuned.search}
                else:
                    tuned = fine_tune(probe, *splits, settings=changed, save_points=NoSavePoints(), **shared)
                    result = {}
                result |= {"best_epoch": tuned.best_epoch, "temperature": tuned.temperature}
            result["cpu_seconds"] = time.process_time() - started_s
            result |= scores(tuned.classifier, pixels, manifest, compute)
            if name not in ("auto", "scratch", "none"):
                result["interpolated"] = interpolated(
                    probe, tuned, splits[1], changed, pixels, manifest, compute, store
                )
            (folder / f"{seed}-{name}.json").write_text(json.dumps(result, indent=1))
            print(f"{folder.name}, seed {seed}, {name}: {brief(result)}", flush=True)


def prepare(
    dataset: str,
    parameters: dict[str, Any],
    num_images: int,
    backbone: BuildBackboneOptions,
    compute: Compute,
) -> tuple[pd.DataFrame, np.ndarray, Any, tuple[str, ...]]:
    """The index of some images of a data set, and their pixels."""
    listing, order = list_dataset(dataset)
    drawn = numpy_generator(0, "images").permutation(len(listing))[:num_images]
    listing = listing.iloc[np.sort(drawn)].reset_index(drop=True).assign(group=None)
    index, _, _ = index_images(listing, max_unreadable_fraction=0.01, exclude=(), on_progress=lambda *_: None)
    preprocessing = NormalizeOptions.model_validate(parameters["normalize"]).preprocessing(
        input_contract(backbone.spec, backbone.weights)
    )
    blocks = normalize_images(index, preprocessing, num_workers=2, block_rows=256)
    return index, np.concatenate(list(blocks)), preprocessing, order


def list_dataset(dataset: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if dataset == "elpv":
        source = ElpvSource()
        source = source.model_copy(update={"path": next(iter(demo_files(source).values())).parent})
        return list_images(source), label_order(source)
    if ".csv:" in dataset:
        path, label, *more = dataset.split(":")
        path_column, images = (more + ["path", None][len(more) :])[:2]
        csv = CsvSource(
            path=Path(path), images=images and Path(images), label_column=label, path_column=path_column
        )
        return list_images(csv), ()
    parts = [Path(dataset, part) for part in ("train", "val", "test") if Path(dataset, part).is_dir()]
    listings = [list_images(FolderSource(path=part)) for part in parts or [Path(dataset)]]
    return pd.concat(listings, ignore_index=True), ()


def probe_of(
    prepared: tuple[pd.DataFrame, np.ndarray, Any, tuple[str, ...]],
    backbone: Any,
    parameters: dict[str, Any],
    split: dict[str, float],
    compute: Compute,
) -> tuple[Classifier, pd.DataFrame, tuple[Labelled, Labelled], np.ndarray]:
    index, pixels, preprocessing, order = prepared
    ingest = IngestOptions.model_validate(parameters["ingest"])
    changed = ingest.split.model_copy(update={"kind": "random", **split})
    manifest, label_names = build_manifest(index, changed, min_images_per_class=3, label_order=order)
    head_options = TrainHeadOptions.model_validate(parameters["train_head"]).head
    with reproducible(compute):
        blocks = extract_features(backbone, pixels, preprocessing, batch_size=8, compute=compute)
        head, _ = fit_head(
            np.concatenate(list(blocks)),
            backbone.feature_dims,
            manifest,
            label_names,
            layers=head_options.layers(),
            settings=head_options.settings(),
        )
    probe = assemble(backbone, head, preprocessing, views=parameters["fine_tune"]["predict_views"])
    splits = labelled(pixels, manifest, "train", "label"), labelled(pixels, manifest, "val", "label")
    return probe, manifest, splits, pixels


def scores(
    classifier: Classifier, pixels: np.ndarray, manifest: pd.DataFrame, compute: Compute
) -> dict[str, float]:
    predictions = predict_images({"model": classifier}, pixels, manifest, batch_size=8, compute=compute)
    found = {}
    for split, rows in predictions.groupby("split"):
        probabilities = rows[probability_columns(classifier.label_names)].to_numpy()
        of_label = probabilities[np.arange(len(rows)), rows["label"]]
        found[f"{split}_accuracy"] = float((rows["predicted"] == rows["label"]).mean())
        found[f"{split}_log_loss"] = float(-np.log(np.clip(of_label, 1e-15, 1)).mean())
    return found


def interpolated(
    probe: Classifier,
    tuned: FineTuned,
    val: Labelled,
    settings: FineTuneSettings,
    pixels: np.ndarray,
    manifest: pd.DataFrame,
    compute: Compute,
    store: ArrayFolder,
) -> dict[str, float]:
    """Test scores at the coefficient that `val` likes best."""
    first = next(
        (row["stage"] for row in tuned.receipt if row["is_trained"] and row["stage"] != "head"), None
    )
    with reproducible(compute):
        found = interpolate(
            probe,
            tuned.classifier,
            first,
            examples(probe, first, val, "identity", settings, compute=compute, store=store),
            coefficient="auto",
            metric=settings.selection_metric,
            batch_size=settings.micro_batch_size,
            compute=compute,
        )
    return {"coefficient": found.coefficient, **scores(found.classifier, pixels, manifest, compute)}


def brief(result: dict[str, Any]) -> str:
    return (
        f"{result.get('chosen', '')} test {result['test_accuracy']:.2%}, log-loss {result['test_log_loss']:.4f} "
        f"({result['cpu_seconds']:.0f} CPU s)"
    )


def value_of(result: dict[str, Any], key: str) -> float:
    """A number of a result; `between_…` of the interpolated model, where there is one."""
    kind, _, rest = key.partition("_")
    return float(result.get("interpolated", result)[f"test_{rest}"] if kind == "between" else result[key])


def show(name: str, folder: Path) -> None:
    """Mean test scores of every candidate over the seeds that are whole, and what the search's choices give."""
    by_seed: dict[str, dict[str, Any]] = defaultdict(dict)
    for path in folder.glob("*-*.json"):
        seed, _, candidate = path.stem.partition("-")
        by_seed[seed][candidate] = json.loads(path.read_text())
    # Seeds that have all that any seed has: no mean is over other seeds than its neighbour's.
    size = max((len(found) for found in by_seed.values()), default=0)
    whole = [found for found in by_seed.values() if len(found) == size and "auto" in found]
    if not whole:
        print(f"{name}: nothing is whole yet")
        return
    print(f"\n{name}: mean over {len(whole)} seeds")
    print(f"{'':12s} {'test accuracy':>14s} {'log-loss':>9s} {'interpolated':>19s} {'CPU s':>7s}")
    means = {
        candidate: [
            statistics.mean(value_of(found[candidate], key) for found in whole)
            for key in (
                "test_accuracy",
                "test_log_loss",
                "cpu_seconds",
                "between_accuracy",
                "between_log_loss",
            )
        ]
        for candidate in whole[0]
    }
    for candidate, (accuracy, log_loss, cpu_s, *between) in sorted(means.items(), key=lambda one: -one[1][0]):
        line = f"{candidate:12s} {accuracy:14.2%} {log_loss:9.4f} {between[0]:10.2%} {between[1]:8.4f} {cpu_s:7.0f}"
        print(line)
    exhaustive = {name: values for name, values in means.items() if name not in ("auto", "scratch")}
    best = max(values[0] for values in exhaustive.values())
    total_s = sum(values[2] for values in exhaustive.values())
    print(
        f"auto loses {best - means['auto'][0]:+.2%} against the best, takes {means['auto'][2] / total_s:.0%} of trying "
        f"all; against head only {means['auto'][0] - means['none'][0]:+.2%}, against everything "
        f"{means['auto'][0] - means['all'][0]:+.2%}"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
