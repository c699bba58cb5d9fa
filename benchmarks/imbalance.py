"""What balancing does to the linear probe: `python benchmarks/imbalance.py`, after a run of the main job.

Random splits of the demonstration's cells (65 % train, 10 % val, 25 % test) from the cached features: as they are,
and with defective cells left out of train and val until 5 % are left. The test cells stay as they are.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split

from regraft.adapters.datasets import ModelFile
from regraft.options.train_head import LinearHeadOptions
from regraft.training.balanced_head import fit_balanced_head
from regraft.training.feature_columns import stage_columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    features = np.load(arguments.data / "04_feature/features.npy")
    manifest = pd.read_parquet(arguments.data / "03_primary/manifest.parquet")
    label_names = json.loads((arguments.data / "03_primary/label_names.json").read_text())
    backbone = ModelFile(
        filepath=str(arguments.data / "06_models/backbone.safetensors"), part="backbone"
    ).load()
    options = LinearHeadOptions(kind="linear")
    at_cut = stage_columns(backbone.feature_dims)[backbone.cut]
    rows = []
    for fraction in (None, 0.05):
        for seed in range(arguments.seeds):
            table = split(manifest, fraction, seed)
            for balance in ("none", "class_weights", "auto"):
                head, _, choice = fit_balanced_head(
                    features,
                    backbone.feature_dims,
                    table,
                    label_names,
                    layers=options.layers(),
                    settings=options.settings(),
                    balance=balance,
                )
                is_test = (table["split"] == "test").to_numpy()
                with torch.no_grad():
                    logits = head.modules(torch.from_numpy(features[is_test, at_cut]))
                predicted = head.target.answers(logits).argmax(dim=1).numpy()
                labels = table["label"].to_numpy()[is_test]
                rows.append(
                    {
                        "positive": fraction or "as found",
                        "balance": balance,
                        "accuracy": (predicted == labels).mean(),
                        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
                        "is_balanced": choice["chosen"] != "none",
                    }
                )
                print(rows[-1], flush=True)
    print(pd.DataFrame(rows).groupby(["positive", "balance"]).agg(["mean", "std"]).round(4).to_string())


def split(manifest: pd.DataFrame, fraction: float | None, seed: int) -> pd.DataFrame:
    """A random stratified split; positives of train and val are left out until they are `fraction` of them."""
    labels = manifest["label"].to_numpy()
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=seed)
    train, val = train_test_split(rest, test_size=0.1 / 0.75, stratify=labels[rest], random_state=seed)
    table = manifest.assign(split="left out", group=None)
    column = table.columns.get_loc("split")
    table.iloc[test, column] = "test"
    for name, members in (("train", train), ("val", val)):
        positive, negative = members[labels[members] == 1], members[labels[members] == 0]
        kept = len(positive) if fraction is None else round(fraction / (1 - fraction) * len(negative))
        table.iloc[np.concatenate([negative, positive[:kept]]), column] = name
    return table


if __name__ == "__main__":
    main()
