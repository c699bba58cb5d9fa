"""A head for several targets: each as if it were alone, then side by side."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.training.head import NotConvergedError
from regraft.training.linear_probe import SolverSettings, fit_linear_probe
from regraft.training.ridge import fit_ridge
from regraft.training.several_head import fit_several_head

SETTINGS = SolverSettings(penalties=(1.0, 0.1), num_folds=3, tolerance=1e-6, max_iterations=1000, seed=0)
DIMS = {"early": 4, "late": 12}
TARGETS: list[dict[str, Any]] = [
    {"name": "sex", "kind": "classes", "label_names": ["f", "m"]},
    {"name": "age", "kind": "number"},
    {"name": "hair", "kind": "classes", "label_names": ["a", "b", "c"]},
    {"name": "face", "kind": "points", "num_points": 2},
]


@pytest.fixture
def table() -> tuple[np.ndarray, pd.DataFrame]:
    """Features of random numbers in which the late stage tells everything, and a manifest of all splits."""
    generator = np.random.default_rng(0)
    num_rows = 150
    features = generator.normal(size=(num_rows, 16)).astype(np.float32)
    known = features[:, 4:] @ generator.normal(size=(12, 6)) + 0.3 * generator.normal(size=(num_rows, 6))
    hair = np.argmax(features[:, 4:7], axis=1)
    manifest = pd.DataFrame(
        {
            "split": np.array(["train", "train", "train", "val", "test"])[np.arange(num_rows) // 3 % 5],
            "label": (known[:, 0] > 0).astype(int),
            "group": None,
            "target_sex": (known[:, 0] > 0).astype(int),
            "target_age": 40 + 10 * known[:, 1],
            "target_hair": hair,
        }
    )
    for place, column in enumerate(("x0", "y0", "x1", "y1")):
        manifest[f"target_face.{column}"] = 0.5 + 0.05 * known[:, 2 + place]
    return features, manifest


def test_each_target_is_solved_as_if_it_were_alone(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    head, history, balance = fit_several_head(features, DIMS, manifest, TARGETS, settings=SETTINGS)
    train = np.flatnonzero(manifest["split"] == "train")
    late, groups = features[train, 4:], np.arange(len(train))
    weight, bias = (parameter.double().numpy() for parameter in head.modules[0].parameters())
    hair = fit_linear_probe(
        late, manifest["target_hair"].to_numpy()[train], num_classes=3, groups=groups, settings=SETTINGS
    )
    np.testing.assert_allclose(weight[2:5], hair.weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias[2:5], hair.bias, rtol=1e-5, atol=1e-6)
    chosen = history["summary"]["targets"]["age"]["penalty"]
    age = fit_ridge(
        late, manifest[["target_age"]].to_numpy()[train], folds=[(groups, groups)], penalties=(chosen,)
    )
    np.testing.assert_allclose(weight[1:2], age.weight, rtol=1e-5, atol=1e-6)
    assert {row["target"] for row in history["rows"]} == {"sex", "age", "hair", "face"}
    assert history["summary"]["is_converged"]
    assert balance["chosen"] == "none"


def test_what_it_says_of_new_images_is_near_the_truth(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    head, _, _ = fit_several_head(features, DIMS, manifest, TARGETS, settings=SETTINGS)
    test = np.flatnonzero(manifest["split"] == "test")
    answers = head.target.answers(head.modules(torch.from_numpy(features[test, 4:]))).numpy()
    said = dict(zip(head.target.answer_names, answers.T, strict=True))
    truth = manifest.iloc[test]
    assert ((said["sex=m"] > 0.5) == truth["target_sex"]).mean() > 0.85
    assert np.corrcoef(said["age"], truth["target_age"])[0, 1] > 0.95
    assert np.abs(said["face.x1"] - truth["target_face.x1"]).mean() < 0.3 * truth["target_face.x1"].std()
    age = head.target.members[1]
    assert 0.05 < age.noise[0] < 0.5, "what is left unexplained, as a fraction of the deviation"


def test_stages_and_views_are_those_asked_for(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    both, _, _ = fit_several_head(
        features, DIMS, manifest, TARGETS, settings=SETTINGS, stages=["early", "late"]
    )
    assert (both.feature_dim, both.stages) == (16, ("early", "late"))
    still = TARGETS[:3]  # points would move
    views = np.concatenate([features, features])
    once, _, _ = fit_several_head(features, DIMS, manifest, still, settings=SETTINGS)
    thrice, _, _ = fit_several_head(features, DIMS, manifest, still, settings=SETTINGS, view_features=views)
    # the same images thrice ask for the same head, given the same penalties
    torch.testing.assert_close(thrice.modules[0].weight, once.modules[0].weight, rtol=1e-3, atol=1e-4)


def test_points_are_learnt_where_each_view_shows_them() -> None:
    """Features that are the place itself: what is learnt of mirrored ones alone must be the same rule."""
    generator = np.random.default_rng(0)
    place = generator.uniform(size=(60, 4))
    mirrored = np.stack([1 - place[:, 2], place[:, 3], 1 - place[:, 0], place[:, 1]], axis=1)
    noise = generator.normal(size=(60, 4)) * 1e-4
    manifest = pd.DataFrame(
        {"split": ["train"] * 50 + ["val"] * 10, "label": np.arange(60) % 2, "group": None}
    ).assign(**{f"target_face.{name}": place[:, n] for n, name in enumerate(("x0", "y0", "x1", "y1"))})
    face = {"name": "face", "kind": "points", "num_points": 2, "partners": [1, 0]}
    head, _, _ = fit_several_head(
        (place + noise).astype(np.float32),
        {"late": 4},
        manifest,
        [face],
        settings=SolverSettings(penalties=(1e-6,), num_folds=2, tolerance=1e-6, max_iterations=10, seed=0),
        view_features=(mirrored + noise).astype(np.float32),
    )
    said = head.target.answers(head.modules(torch.from_numpy(mirrored.astype(np.float32)))).numpy()
    np.testing.assert_allclose(said, mirrored, atol=1e-3)
    assert head.target.members[0].partners == (1, 0)


def test_a_number_that_does_not_vary_in_train_is_named(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    manifest.loc[manifest["split"] == "train", "target_face.y1"] = 0.25
    with pytest.raises(
        ValueError, match=r"target 'face': the same value in all training images \(number 3 of 4\)"
    ):
        fit_several_head(features, DIMS, manifest, TARGETS, settings=SETTINGS)


def test_classes_that_are_not_solved_are_named(table: tuple[np.ndarray, pd.DataFrame]) -> None:
    features, manifest = table
    settings = SolverSettings(penalties=(0.01,), num_folds=3, tolerance=1e-12, max_iterations=2, seed=0)
    with pytest.raises(NotConvergedError, match="target 'sex' did not converge"):
        fit_several_head(features, DIMS, manifest, TARGETS, settings=settings)
