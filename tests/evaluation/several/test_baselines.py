"""What can be said of several targets without a pixel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.several.baselines import baseline_answers

AGE = [{"name": "age", "kind": "number"}]


def test_each_kind_is_answered_by_its_own_summary() -> None:
    manifest = pd.DataFrame(
        {
            "path": [f"{place}.png" for place in range(6)],
            "split": ["train"] * 4 + ["test"] * 2,
            "group": ["a", "a", "a", "b", "b", "new"],
            "target_sex": [1, 1, 0, 0, 0, 0],
            "target_age": [1.0, 3.0, 50.0, 7.0, 0.0, 0.0],
            "target_face.x0": [0.1, 0.2, 0.6, 0.9, 0.0, 0.0],
            "target_face.y0": [0.5, 0.5, 0.5, 0.5, 0.0, 0.0],
        }
    )
    targets = [
        {"name": "sex", "kind": "classes", "label_names": ["f", "m"]},
        *AGE,
        {"name": "face", "kind": "points", "num_points": 1},
    ]
    found = baseline_answers(manifest, targets, split="test")
    assert found["constant"]["sex"].tolist() == [[1, 0], [1, 0]]  # two of each: the first
    assert found["constant"]["age"].tolist() == [5, 5]
    np.testing.assert_allclose(found["constant"]["face"], [[[0.45, 0.5]]] * 2)
    assert found["group"]["age"].tolist() == [7, 5]
    np.testing.assert_allclose(found["group"]["face"], [[[0.9, 0.5]], [[0.45, 0.5]]])
    assert found["metadata"]["face"].shape == (2, 1, 2)


def error_of_files(manifest: pd.DataFrame) -> float:
    said = baseline_answers(manifest, AGE, split="test")["metadata"]["age"]
    return float(np.abs(said - manifest.query("split == 'test'")["target_age"]).mean())


def test_a_name_that_is_the_age_tells_nothing_and_a_width_tells_all(
    build_several: Callable[..., Any],
) -> None:
    manifest = build_several(400, num_groups=None).manifest
    constant = (manifest["target_age"] - manifest["target_age"].median()).abs().mean()
    ids = np.random.default_rng(0).integers(10**9, 10**10, len(manifest))
    named = [f"x/{age:03.0f}_{number}.jpg" for age, number in zip(manifest["target_age"], ids, strict=True)]
    assert error_of_files(manifest.assign(path=named)) > 0.8 * constant
    assert error_of_files(manifest.assign(width=100 + manifest["target_age"])) < 0.3 * constant
