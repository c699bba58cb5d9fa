"""How well the label audit finds labels flipped on purpose: `python benchmarks/label_noise.py`.

One label in ten is given to another class. Reported, over several seeds: how many of the first k that the audit names
were flipped (k: as many as were flipped), and how much of the accuracy lost by the flips comes back when a person looks
at these k and puts right those that are wrong. `--folder` takes a folder of class folders instead of the solar cells;
`--ways` adds what else was tried. Each seed is another random split, other flips.
"""

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kedro.config import OmegaConfigLoader
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from regraft.adapters.unfinished import write_blocks
from regraft.backbones.backbone import build_backbone, freeze
from regraft.backbones.weights import input_contract, load_weights
from regraft.evaluation.label_audit import find_issues, suggest_labels
from regraft.images.index import index_images
from regraft.images.manifest import build_manifest
from regraft.images.pixels import normalize_images
from regraft.images.sources import FolderSource, demo_files, label_order, list_images
from regraft.images.splits import number_units
from regraft.options.audit import AuditOptions, LinearJudgeOptions
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.training.feature_columns import stage_columns
from regraft.training.features import extract_features
from regraft.training.linear_probe import fit_linear_probe
from regraft.training.out_of_fold import predict_out_of_fold
from regraft.training.penalised_regression import log_softmax


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fraction", type=float, default=0.1, help="of all labels, flipped")
    parser.add_argument(
        "--folder", type=Path, help="images of your own; photographs are cropped, not stretched"
    )
    parser.add_argument("--pooling", default=None, help="of the features; as shipped if not given")
    parser.add_argument("--cut", default=None, help="the last stage of the features; as shipped if not given")
    parser.add_argument(
        "--ways", action="store_true", help="other folds, features, scores and models as well"
    )
    arguments = parser.parse_args()
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    for name in ("pooling", "cut"):
        if (value := getattr(arguments, name)) is not None:
            parameters["build_backbone"][name] = value
    index, order, features, columns = prepare(parameters, arguments.folder)
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in range(arguments.seeds):
        split = {"kind": "random", "seed": seed}
        manifest, names = build_manifest(
            index,
            IngestOptions.model_validate(parameters["ingest"]).split.model_copy(update=split),
            min_images_per_class=10,
            label_order=order,
        )
        case = Case(manifest, names["label"], features, columns, parameters, arguments.fraction, seed)
        for way, probabilities in case.ways(everything=arguments.ways):
            found[way].append(case.precision(probabilities))
        found["put right"].append(case.regained())
        print(f"seed {seed}: {case.num_flipped} of {len(manifest)} labels flipped", flush=True)
    for way, rows in found.items():
        table = pd.DataFrame(rows)
        print(way)
        for name in table:
            spread = f" ± {table[name].std():.3f}" if len(table) > 1 else ""
            print(f"    {name:<58} {table[name].mean():.3f}{spread}")
    right = pd.DataFrame(found["put right"]).mean()
    for kind in ("against the true labels", "against the labels given"):
        clean, noisy, again = (
            right[f"test accuracy {kind}, {when}"] for when in ("clean", "flipped", "put right")
        )
        share = f": {(again - noisy) / (clean - noisy):.0%}" if clean > noisy else ""
        print(f"{kind}: {100 * (clean - noisy):.2f} points lost, {100 * (again - noisy):.2f} regained{share}")


def prepare(
    parameters: dict[str, Any], folder: Path | None
) -> tuple[pd.DataFrame, tuple[str, ...], np.ndarray, dict[str, slice]]:
    """Index, order of the labels, features of every stage, and whose columns are whose; by the product's own steps."""
    ingest = IngestOptions.model_validate(parameters["ingest"])
    options = BuildBackboneOptions.model_validate(parameters["build_backbone"])
    compute = ComputeOptions.model_validate(parameters["compute"]).resolve()
    fit = parameters["normalize"]
    if folder is None:
        source: Any = ingest.source.model_copy(
            update={"path": next(iter(demo_files(ingest.source).values())).parent}
        )
    else:
        source, fit = FolderSource(path=folder), parameters["normalize"] | {"fit": "crop"}
    index, _, _ = index_images(
        list_images(source), max_unreadable_fraction=0.1, exclude=(), on_progress=lambda *_: None
    )
    preprocessing = NormalizeOptions.model_validate(fit).preprocessing(
        input_contract(options.spec, options.weights)
    )
    weights, receipt = load_weights(options.spec, options.weights)
    backbone = build_backbone(
        options.name, weights=weights, cut=options.cut, receipt=receipt, pooling=options.pooling
    )
    freeze(backbone)
    with tempfile.TemporaryDirectory() as place:
        pixels = stored(
            Path(place) / "pixels.npy", normalize_images(index, preprocessing, num_workers=2, block_rows=256)
        )
        batch_size = compute.images_a_pass(options.batch_size, size=preprocessing.size)
        blocks = extract_features(backbone, pixels, preprocessing, batch_size=batch_size, compute=compute)
        features = np.array(stored(Path(place) / "features.npy", blocks))
    return index, label_order(source), features, stage_columns(backbone.feature_dims)


def stored(path: Path, blocks: Any) -> np.ndarray:
    """Blocks as a memory-mapped array."""
    write_blocks(path, blocks, task="", circumstances=None)
    return np.load(path, mmap_mode="r")


class Case:
    """One split, some labels of which are flipped."""

    def __init__(
        self,
        manifest: pd.DataFrame,
        names: list[str],
        features: np.ndarray,
        columns: dict[str, slice],
        parameters: dict[str, Any],
        fraction: float,
        seed: int,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.manifest, self.names, self.features, self.columns = manifest, names, features, columns
        self.truth = manifest["label"].to_numpy(np.int64)
        self.num_flipped = round(fraction * len(manifest))
        self.is_flipped = np.zeros(len(manifest), bool)
        self.is_flipped[generator.choice(len(manifest), self.num_flipped, replace=False)] = True
        moved = (self.truth + generator.integers(1, len(names), len(manifest))) % len(names)
        self.given = np.where(self.is_flipped, moved, self.truth)
        self.options = AuditOptions.model_validate(parameters["audit"])
        self.head = TrainHeadOptions.model_validate(parameters["train_head"]).head
        probability = manifest.get("defect_probability", pd.Series(1.0, manifest.index)).to_numpy()
        self.is_certain = np.minimum(probability, 1 - probability) < 0.01

    def audited(
        self, *, labels: np.ndarray | None = None, columns: slice = slice(None), **changes: Any
    ) -> np.ndarray:
        """What held-out probes say, `(N, K)`."""
        options = self.options.model_copy(update=changes)
        return predict_out_of_fold(
            self.features[:, columns],
            self.given if labels is None else labels,
            num_classes=len(self.names),
            groups=np.array(
                number_units(self.manifest, "grouped" if options.hold_out == "groups" else "random")
            ),
            settings=options.settings(),
            kernel=options.head.kernel(),
        ).probabilities

    def ways(self, *, everything: bool) -> Any:
        """Names and scores `(N,)`: the lower, the likelier wrong."""
        rows = np.arange(len(self.given))
        self.shipped = shipped = self.audited()
        yield "as shipped", shipped[rows, self.given]
        if not everything:
            return
        linear = LinearJudgeOptions(kind="linear")
        yield "linear probes", self.audited(head=linear)[rows, self.given]
        yield (
            "a probe trained on the true labels: no audit can know more",
            self.audited(labels=self.truth)[rows, self.given],
        )
        if self.manifest["group"].notna().any():
            grouped = self.audited(hold_out="groups")
            yield "whole groups held out", grouped[rows, self.given]
            yield "mean of both", ((grouped + shipped) / 2)[rows, self.given]
        last = self.columns[list(self.columns)[-1]]
        yield "features of the last stage alone", self.audited(columns=last)[rows, self.given]
        repeats = np.mean([shipped, *(self.audited(seed=seed) for seed in (1, 2))], axis=0)
        yield "mean of three probes on other folds", repeats[rows, self.given]
        kept = ~find_issues(self.given, shipped)
        yield "again, without the labels called wrong", self.pruned(kept)[rows, self.given]
        yield "15 nearest neighbours", self.neighbours(15)[rows, self.given]
        from cleanlab.rank import get_label_quality_scores

        for method in ("normalized_margin", "confidence_weighted_entropy"):
            yield f"score: {method}", get_label_quality_scores(self.given, shipped, method=method)
        adjusted = get_label_quality_scores(
            self.given, shipped, method="self_confidence", adjust_pred_probs=True
        )
        yield "score: self_confidence, adjusted for the classes", adjusted

    def pruned(self, kept: np.ndarray) -> np.ndarray:
        """Held-out probes that learn from the labels not called wrong alone, `(N, K)`."""
        options, rows = self.options, np.arange(len(self.given))
        folds = np.random.default_rng(1).integers(0, options.num_folds, len(rows))
        settings = options.settings()
        probabilities = np.empty((len(rows), len(self.names)))
        for fold in range(options.num_folds):
            learnt = np.flatnonzero((folds != fold) & kept)
            probe = fit_linear_probe(
                self.features[learnt],
                self.given[learnt],
                num_classes=len(self.names),
                groups=learnt,
                settings=settings,
            )
            probabilities[folds == fold] = self.judged(probe, folds == fold)
        return probabilities

    def judged(self, probe: Any, rows: np.ndarray) -> np.ndarray:
        layer = np.concatenate([probe.weight, probe.bias[:, None]], axis=1)
        return np.exp(log_softmax(self.features[rows].astype(np.float64), layer))

    def neighbours(self, number: int) -> np.ndarray:
        """Votes of the nearest images, itself not among them, `(N, K)`."""
        scaled = StandardScaler().fit_transform(self.features)
        model = KNeighborsClassifier(number + 1, metric="cosine").fit(scaled, self.given)
        near = model.kneighbors(scaled, return_distance=False)[:, 1:]
        votes = np.eye(len(self.names))[self.given[near]].mean(axis=1)
        return (votes * number + 1) / (number + len(self.names))

    def precision(self, scores: np.ndarray) -> dict[str, float]:
        """Among the first k; over all images, and over those whose label was certain before."""
        first = np.argsort(scores, kind="stable")[: self.num_flipped]
        certain = np.flatnonzero(self.is_certain)
        k = int(self.is_flipped[certain].sum())
        first_certain = certain[np.argsort(scores[certain], kind="stable")[:k]]
        innocent = first[~self.is_flipped[first]]
        row = {"precision among the first k": self.is_flipped[first].mean()}
        if not self.is_certain.all():
            row["precision among the first k, certain labels alone"] = self.is_flipped[first_certain].mean()
            row["uncertain images among the first k that were not flipped"] = (
                (~self.is_certain[innocent]).mean() if len(innocent) else 0.0
            )
        return row

    def regained(self) -> dict[str, float]:
        """Test accuracy of the head with the true labels, with the given ones, and with the first k put right."""
        suggestions = suggest_labels(self.manifest.assign(label=self.given), self.names, self.shipped)
        looked_at = suggestions.index[: self.num_flipped].to_numpy()
        put_right = self.given.copy()
        put_right[looked_at] = self.truth[looked_at]
        test = (self.manifest["split"] == "test").to_numpy()
        found: dict[str, float] = {}
        for when, labels in (("clean", self.truth), ("flipped", self.given), ("put right", put_right)):
            predicted = self.trained(labels)[test].argmax(axis=1)
            found[f"test accuracy against the true labels, {when}"] = (predicted == self.truth[test]).mean()
            found[f"test accuracy against the labels given, {when}"] = (predicted == labels[test]).mean()
        found["labels called wrong, as a share of those flipped"] = (
            suggestions["is_issue"].sum() / self.num_flipped
        )
        return found

    def trained(self, labels: np.ndarray) -> np.ndarray:
        """Probabilities `(N, K)` of the main job's head on the last stage, learnt from train."""
        train = np.flatnonzero(self.manifest["split"] == "train")
        last = self.columns[list(self.columns)[-1]]
        probe = fit_linear_probe(
            np.ascontiguousarray(self.features[train, last]),
            labels[train],
            num_classes=len(self.names),
            groups=np.array(number_units(self.manifest.iloc[train], "random")),
            settings=self.head.settings(),
        )
        layer = np.concatenate([probe.weight, probe.bias[:, None]], axis=1)
        return np.exp(log_softmax(self.features[:, last].astype(np.float64), layer))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
