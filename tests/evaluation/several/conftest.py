"""Synthetic manifests and predictions of three targets, as ingest and evaluate make them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.several.answers import answers_table
from regraft.evaluation.several.measure import measure_several
from regraft.images.target_columns import manifest_columns

TARGETS: list[dict[str, Any]] = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 5},
]
SHAPE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.35, 0.72], [0.65, 0.72]])
BOOTSTRAP = Bootstrap(num_resamples=200, confidence=0.95, seed=0)


class Several(NamedTuple):
    """A run: its tables, targets, and the names that images were split by."""

    predictions: pd.DataFrame
    manifest: pd.DataFrame
    targets: list[dict[str, Any]]
    label_names: list[str]

    def measure(self, bootstrap: Bootstrap = BOOTSTRAP) -> dict[str, Any]:
        """All its numbers."""
        return measure_several(*self, bootstrap=bootstrap)


def make_several(
    num_images: int = 240,
    targets: Sequence[dict[str, Any]] = TARGETS,
    *,
    seed: int = 0,
    num_groups: int | None = 12,
    split_by_group: bool = False,
    errors: tuple[float, float] = (1.0, 0.6),
) -> Several:
    """A manifest with 60/15/25 % splits, and predictions of a probe and a better fine-tuned model.

    Groups differ in age, so that the group alone says something; `errors` are those of the two models, of which 0 is
    to be always right.
    """
    generator = np.random.default_rng(seed)
    group = generator.integers(0, num_groups or 1, num_images)
    age = np.clip(group * 5.0 + generator.normal(20, 8, num_images), 1, 95).round()
    gender = (generator.random(num_images) < 0.4).astype(np.int64)
    points = (
        SHAPE + generator.normal(0, 0.04, (num_images, 1, 2)) + generator.normal(0, 0.02, (num_images, 5, 2))
    )
    key = group if split_by_group else generator.permutation(num_images)
    fraction = (key + 0.5) / (key.max() + 1)
    true = {"gender": gender, "age": age, "face": points.reshape(num_images, 10)}
    names = np.array(["female", "male"], dtype=object)
    manifest = pd.DataFrame(
        {
            "id": np.arange(num_images),
            "path": [f"images/{i:04d}.png" for i in generator.permutation(num_images)],
            "sha256": [f"{i:064x}" for i in range(num_images)],
            "group": [f"camera-{g:02d}" for g in group] if num_groups else [None] * num_images,
            "split": np.where(fraction < 0.6, "train", np.where(fraction < 0.75, "val", "test")),
            "label": gender,
            "label_name": names[gender],
            **{
                column: np.atleast_2d(true[target["name"]].T)[place]
                for target in targets
                for place, column in enumerate(manifest_columns(target))
            },
        }
    )
    shared = {kind: generator.normal(size=(num_images, 10)) for kind in ("classes", "number", "points")}
    tables = []
    for model, error in zip(("probe", "fine_tuned"), errors, strict=True):
        noise = {
            kind: error * (0.7 * of + 0.7 * generator.normal(size=of.shape)) for kind, of in shared.items()
        }
        sureness = 4 * (gender - 0.5) / max(error, 1e-3) + 4 * noise["classes"][:, 0]
        male = 1 / (1 + np.exp(-np.clip(sureness, -30, 30)))
        said = {
            "gender": np.stack([1 - male, male], axis=1),
            "age": (age + 7 * noise["number"][:, 0])[:, None],
            "face": true["face"] + 0.03 * noise["points"] * np.repeat([0.6, 0.6, 0.8, 1.2, 1.6], 2),
        }
        answers = np.concatenate([said[target["name"]] for target in targets], axis=1)
        columns = ["id", "sha256", "path", "split", "label", "label_name", "group"]
        table = pd.concat(
            [manifest[columns].assign(model=model), answers_table(answers, manifest, targets)], axis=1
        )
        tables.append(table[table["split"] != "train"])
    return Several(pd.concat(tables, ignore_index=True), manifest, list(targets), ["female", "male"])


def draw_pixels(several: Several, side: int = 64) -> NDArray[np.uint8]:
    """`(N, side, side, 3)`: a bright spot at each point of the face on a grey plane."""
    points = several.manifest[manifest_columns(TARGETS[2])].to_numpy().reshape(-1, 5, 2) * side
    y, x = np.mgrid[:side, :side] + 0.5
    distances = np.hypot(x - points[..., 0, None, None], y - points[..., 1, None, None]).min(axis=1)
    plane = np.where(distances < side / 24, 230, 120)
    return np.repeat(plane[..., None], 3, axis=3).astype(np.uint8)


@pytest.fixture(scope="session")
def build_several() -> Callable[..., Several]:
    return make_several


@pytest.fixture(scope="session")
def several() -> Several:
    return make_several()


@pytest.fixture(scope="session")
def pixels(several: Several) -> NDArray[np.uint8]:
    return draw_pixels(several)
