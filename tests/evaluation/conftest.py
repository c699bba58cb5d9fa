"""Synthetic manifests and predictions, as ingest and evaluate make them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest


class Tables(NamedTuple):
    predictions: pd.DataFrame
    manifest: pd.DataFrame
    label_names: list[str]


def make_tables(
    num_images: int = 240,
    label_names: tuple[str, ...] = ("functional", "defective"),
    *,
    seed: int = 0,
    num_groups: int | None = 12,
    split_by_group: bool = False,
    skill: tuple[float, float] = (2.0, 2.6),
) -> Tables:
    """A manifest with 60/15/25 % splits, and predictions of a probe and a better fine-tuned model.

    Classes are unevenly likely, groups differ in their class balance (so the group alone says something),
    and both models share most of what makes an image hard.
    """
    generator = np.random.default_rng(seed)
    num_classes = len(label_names)
    group = generator.integers(0, num_groups or 1, num_images)
    balance = generator.dirichlet(1.5 / (1 + np.arange(num_classes)), num_groups or 1)
    labels = np.array([generator.choice(num_classes, p=0.1 / num_classes + 0.9 * balance[g]) for g in group])
    key = group if split_by_group else generator.permutation(num_images)
    fraction = (key + 0.5) / (key.max() + 1)
    split = np.where(fraction < 0.6, "train", np.where(fraction < 0.75, "val", "test"))
    names = np.array(label_names, dtype=object)
    manifest = pd.DataFrame(
        {
            "id": np.arange(num_images),
            "path": [f"images/cell{i:04d}.png" for i in range(num_images)],
            "sha256": [f"{i:064x}" for i in range(num_images)],
            "group": [f"mono-{g:02d}" for g in group] if num_groups else [None] * num_images,
            "split": split,
            "label": labels,
            "label_name": names[labels],
        }
    )
    shared = generator.normal(size=(num_images, num_classes))
    tables = []
    for model, strength in zip(("probe", "fine_tuned"), skill, strict=True):
        logits = 1.1 * shared + 0.5 * generator.normal(size=shared.shape)
        logits[np.arange(num_images), labels] += strength
        probabilities = np.exp(1.3 * logits) / np.exp(1.3 * logits).sum(axis=1, keepdims=True)
        predicted = probabilities.argmax(axis=1)
        table = manifest.assign(model=model, predicted=predicted, predicted_name=names[predicted])
        for k, name in enumerate(label_names):
            table[f"p_{name}"] = probabilities[:, k]
        tables.append(table[table["split"] != "train"])
    return Tables(pd.concat(tables, ignore_index=True), manifest, list(label_names))


@pytest.fixture
def tables() -> Tables:
    return make_tables()


@pytest.fixture(scope="session")
def build_tables() -> Callable[..., Tables]:
    return make_tables
