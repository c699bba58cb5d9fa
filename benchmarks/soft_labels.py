"""What learning the defect probabilities instead of the labels gains the head: `python benchmarks/soft_labels.py`.

The demonstration, the product's own steps, the linear head on the last stage; the same splits for all: learning labels,
learning probabilities, and learning labels in which a cell counts by how sure its experts were.
"""

import argparse

import numpy as np
import pandas as pd
import torch
from kedro.config import OmegaConfigLoader
from label_noise import prepare

from regraft.evaluation.metrics import accuracy, expected_calibration_error, log_loss
from regraft.images.manifest import build_manifest
from regraft.images.soft_labels import find_certain, soft_labels
from regraft.options.ingest import IngestOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.training.linear_probe import fit_linear_probe
from regraft.training.penalised_regression import log_softmax
from regraft.training.units import group_numbers

WAYS = ("labels", "probabilities", "labels, weighted by certainty")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    parameters = OmegaConfigLoader("conf", base_env="base", default_run_env="base")["parameters"]
    settings = TrainHeadOptions.model_validate(parameters["train_head"]).head.settings()
    split = IngestOptions.model_validate(parameters["ingest"]).split
    index, order, features, columns = prepare(parameters, None)
    last = np.ascontiguousarray(features[:, columns[list(columns)[-1]]])
    for kind in ("random", "grouped"):
        rows = []
        for seed in range(seeds):
            manifest, names = build_manifest(
                index,
                split.model_copy(update={"kind": kind, "seed": seed}),
                min_images_per_class=10,
                label_order=order,
            )
            labels = manifest["label"].to_numpy(np.int64)
            soft = soft_labels(manifest, names["label"])
            train, test = (np.flatnonzero(manifest["split"] == part) for part in ("train", "test"))
            sure = np.abs(2 * soft[train, 1] - 1)
            for way, given in zip(
                WAYS, ({}, {"targets": soft[train]}, {"weights": sure / sure.mean()}), strict=True
            ):
                probe = fit_linear_probe(
                    last[train],
                    labels[train],
                    num_classes=2,
                    groups=group_numbers(manifest.iloc[train]),
                    settings=settings,
                    **given,
                )
                layer = np.concatenate([probe.weight, probe.bias[:, None]], axis=1)
                said, told = np.exp(log_softmax(last[test].astype(np.float64), layer)), labels[test]
                certain = find_certain(soft[test])
                rows.append(
                    {
                        "way": way,
                        "seed": seed,
                        "accuracy": accuracy(said, told),
                        "log_loss": log_loss(said, told),
                        "calibration_error": expected_calibration_error(said, told, num_bins=15),
                        "certain": accuracy(said[certain], told[certain]),
                        "uncertain": accuracy(said[~certain], told[~certain]),
                    }
                )
        table = pd.DataFrame(rows).set_index(["way", "seed"])
        print(f"{kind}, mean over {seeds} seeds")
        print(table.groupby("way", sort=False).mean().round(4).to_string())
        for way in WAYS[1:]:
            gained = table.loc[way] - table.loc[WAYS[0]]
            print(f"{way} against labels, paired:")
            print(pd.DataFrame({"mean": gained.mean(), "deviation": gained.std()}).round(4).T.to_string())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
