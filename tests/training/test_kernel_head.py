"""The kernel head against scikit-learn's solution in another basis of the same space."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel

from regraft.backbones.backbone import Backbone
from regraft.classifier import load_head, save_head
from regraft.heads.layers import KernelLayers
from regraft.training.head import fit_head
from regraft.training.kernel_head import fit_kernel_head
from regraft.training.linear_probe import SolverSettings, standardisation

PENALTY = 1e-3
SETTINGS = SolverSettings(penalties=(PENALTY,), num_folds=2, tolerance=1e-7, max_iterations=5000, seed=0)


def make_rings(num_rows: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that no plane parts: near the middle, and around it."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_rows) % 2
    angles = generator.uniform(0, 2 * np.pi, num_rows)
    radii = 1 + 2 * labels + 0.4 * generator.normal(size=num_rows)
    points = np.stack([radii * np.cos(angles), 2 * radii * np.sin(angles) + 7], axis=1)
    return points.astype(np.float32), labels


def fitted(features: np.ndarray, labels: np.ndarray, *, num_centres: int, num_images: int, **others: object):
    modules = KernelLayers(kind="kernel", num_centres=num_centres).build(features.shape[1], 1)
    probe = fit_kernel_head(
        modules,
        features,
        labels,
        num_classes=2,
        groups=np.arange(len(labels)),
        num_images=num_images,
        settings=SETTINGS,
        **others,
    )
    return modules.eval(), probe


def logits_of(modules: torch.nn.Module, features: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return modules(torch.from_numpy(features)).numpy()[:, 0]


def test_solution_is_scikit_learns_on_the_same_kernel() -> None:
    features, labels = make_rings()
    modules, probe = fitted(features, labels, num_centres=len(labels), num_images=len(labels))
    mean, scale = standardisation(features)
    points = (features - mean) / scale
    kernel = rbf_kernel(points, gamma=1 / points.shape[1])
    root = np.linalg.cholesky(kernel + 1e-9 * np.eye(len(labels)))
    expected = LogisticRegression(C=1 / (PENALTY * len(labels)), tol=1e-8, max_iter=5000).fit(root, labels)
    assert probe.is_converged
    # Eigenvalues below a millionth of the largest are left out: 1e-2 of logits up to 6
    np.testing.assert_allclose(
        logits_of(modules, features), expected.decision_function(root), atol=1e-2, rtol=0
    )


def test_it_parts_what_no_plane_does() -> None:
    features, labels = make_rings()
    modules, _ = fitted(features, labels, num_centres=len(labels), num_images=len(labels))
    others, their_labels = make_rings(400)
    assert ((logits_of(modules, others) > 0) == their_labels).mean() > 0.95
    linear = LogisticRegression().fit(features, labels)
    assert linear.score(others, their_labels) < 0.7


def test_centres_are_of_the_first_images_and_as_many_as_asked_for() -> None:
    features, labels = make_rings()
    modules, _ = fitted(features, labels, num_centres=30, num_images=50)
    mean, scale = standardisation(features)
    centres = modules[0].centres.numpy() * scale + mean
    distances = np.abs(centres[:, None] - features[None]).max(axis=2)
    rows = distances.argmin(axis=1)
    assert distances.min(axis=1).max() < 1e-3
    assert len(set(rows.tolist())) == 30
    assert rows.max() < 50


def test_weights_and_targets_count() -> None:
    features, labels = make_rings()
    even = np.full((len(labels), 2), 0.5)
    modules, _ = fitted(features, labels, num_centres=40, num_images=160, targets=even)
    assert np.abs(logits_of(modules, features)).max() < 1e-3
    heavy = np.where(labels == 1, 1.9, 0.1)
    plain, _ = fitted(features, labels, num_centres=40, num_images=160)
    weighted, _ = fitted(features, labels, num_centres=40, num_images=160, weights=heavy)
    assert logits_of(weighted, features).mean() > logits_of(plain, features).mean() + 0.1


def test_a_kernel_head_is_fitted_saved_and_read_back(
    make_backbone: Callable[..., Backbone], tmp_path: Path
) -> None:
    backbone = make_backbone()
    generator = np.random.default_rng(0)
    manifest = pd.DataFrame(
        {"split": ["train", "train", "val"] * 20, "label": np.arange(60) % 2, "group": None}
    )
    features = generator.normal(size=(60, sum(backbone.feature_dims.values()))).astype(np.float32)
    head, history = fit_head(
        features,
        backbone.feature_dims,
        manifest,
        {"label": ["no", "yes"]},
        layers=KernelLayers(kind="kernel"),
        settings=SETTINGS,
        view_features=features + 0.1,
    )
    assert head.layers == KernelLayers(kind="kernel", num_centres=40)  # images, not their views
    assert history["summary"]["penalty"] == PENALTY
    save_head(head, tmp_path / "head.safetensors")
    again = load_head(tmp_path / "head.safetensors")
    assert again.layers == head.layers
    at_cut = torch.from_numpy(features[:, -backbone.feature_dim :])
    assert torch.equal(again.modules(at_cut), head.modules(at_cut))


def test_a_missing_class_is_told() -> None:
    features, labels = make_rings()
    with pytest.raises(ValueError, match=r"label number\(s\) \[1\]"):
        fitted(features, np.zeros_like(labels), num_centres=10, num_images=160)
