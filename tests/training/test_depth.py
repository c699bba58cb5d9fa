"""Probes at every depth: what they may see, and what they find."""

import numpy as np
import pytest

from regraft.training.depth import probe_depths
from regraft.training.linear_probe import SolverSettings

SETTINGS = SolverSettings(penalties=(1.0, 0.1, 0.01), num_folds=3, tolerance=1e-5, max_iterations=500, seed=0)
DIMS = {"stem": 2, "middle": 3, "deep": 4}


@pytest.fixture
def told_by_the_middle() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of 120 images in 24 groups; only the middle stage's first one says the label."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 2
    features = generator.normal(size=(120, 9)).astype(np.float32)
    features[:, 2] += 4 * labels
    return features, labels.astype(np.int64), np.arange(120) // 5


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def test_the_stage_that_tells_the_label_stands_out(told_by_the_middle: tuple) -> None:
    features, labels, groups = told_by_the_middle
    probes = probe_depths(features, DIMS, labels, num_classes=2, groups=groups, settings=SETTINGS)
    found = {(probe.features, probe.stage): accuracy(probe.probabilities, labels) for probe in probes}
    assert list(found) == [(kind, stage) for kind in ("last", "concat") for stage in DIMS]
    assert [probe.feature_dim for probe in probes] == [2, 3, 4, 2, 5, 9]
    for kind, stage in (("last", "middle"), ("concat", "middle"), ("concat", "deep")):
        assert found[kind, stage] > 0.9
    for kind, stage in (("last", "stem"), ("last", "deep"), ("concat", "stem")):
        assert 0.3 < found[kind, stage] < 0.7
    for probe in probes:
        np.testing.assert_allclose(probe.probabilities.sum(axis=1), 1, atol=1e-9)
        assert len(probe.penalties) == 3


def test_an_image_is_predicted_by_a_probe_that_saw_nothing_of_its_group() -> None:
    # Features name the group, and each group has one label of its own: known only to who saw the group.
    groups = np.repeat(np.arange(30), 4)
    labels = np.random.default_rng(1).permutation(np.arange(30) % 2)[groups].astype(np.int64)
    features = np.eye(30, dtype=np.float32)[groups]
    (probe, _) = probe_depths(features, {"only": 30}, labels, num_classes=2, groups=groups, settings=SETTINGS)
    assert accuracy(probe.probabilities, labels) < 0.7
    (leaky, _) = probe_depths(
        features, {"only": 30}, labels, num_classes=2, groups=np.arange(120), settings=SETTINGS
    )
    assert accuracy(leaky.probabilities, labels) > 0.9


def test_the_label_of_a_held_out_fold_chooses_no_penalty_for_it() -> None:
    generator = np.random.default_rng(2)
    features = generator.normal(size=(90, 9)).astype(np.float32)
    labels, groups = generator.integers(0, 2, 90), np.arange(90)
    probes = probe_depths(features, DIMS, labels, num_classes=2, groups=groups, settings=SETTINGS)
    assert all(set(probe.penalties) <= set(SETTINGS.penalties) for probe in probes)
    one = SolverSettings(penalties=(0.1,), num_folds=3, tolerance=1e-5, max_iterations=500, seed=0)
    given = probe_depths(features, DIMS, labels, num_classes=2, groups=groups, settings=one)
    assert {probe.penalties for probe in given} == {(0.1, 0.1, 0.1)}


def test_three_classes_are_told() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(90) % 3
    features = (np.eye(3)[labels] * 3 + generator.normal(size=(90, 3))).astype(np.float32)
    (probe, joined) = probe_depths(
        features, {"only": 3}, labels, num_classes=3, groups=np.arange(90), settings=SETTINGS
    )
    assert probe.probabilities.shape == (90, 3)
    assert accuracy(probe.probabilities, labels) > 0.85
    assert np.array_equal(probe.probabilities, joined.probabilities)


def test_features_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="8 features, but the stages have 9: run build_backbone again"):
        probe_depths(
            np.zeros((4, 8), np.float32),
            DIMS,
            np.array([0, 1, 0, 1]),
            num_classes=2,
            groups=np.arange(4),
            settings=SETTINGS,
        )
