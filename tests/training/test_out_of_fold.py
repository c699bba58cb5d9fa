from dataclasses import replace

import numpy as np
import pytest

from regraft.training import standardised_rows
from regraft.training.linear_probe import SolverSettings
from regraft.training.nystrom import Kernel
from regraft.training.out_of_fold import predict_out_of_fold

SETTINGS = SolverSettings(
    penalties=(1.0, 0.1, 0.01), num_folds=4, tolerance=1e-6, max_iterations=2000, seed=0
)


def clouds(num_classes: int, num_rows: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    features = generator.normal(size=(num_rows, 5)) + 2 * generator.normal(size=(num_classes, 5))[labels]
    return features.astype(np.float32), labels


@pytest.mark.parametrize("num_classes", [2, 3])
def test_each_row_is_judged_by_the_probe_of_the_other_folds(num_classes: int) -> None:
    features, labels = clouds(num_classes)
    groups = np.arange(len(labels)) // (2 * num_classes)  # consecutive: every group has all classes
    found = predict_out_of_fold(
        features, labels, num_classes=num_classes, groups=groups, settings=replace(SETTINGS, penalties=(0.1,))
    )
    assert found.probabilities.shape == (len(labels), num_classes)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    assert (found.probabilities.argmax(axis=1) == labels).mean() > 0.8


def test_a_changed_label_does_not_change_what_is_said_of_its_own_row() -> None:
    """Folds and penalty held fixed, the probe that judges a row has not seen its label."""
    features, labels = clouds(2)
    fixed = replace(SETTINGS, penalties=(0.1,))
    groups = np.arange(len(labels)) // 30  # four groups, four folds: a fold is a group whatever the labels
    arguments = {"num_classes": 2, "groups": groups, "settings": fixed}
    before = predict_out_of_fold(features, labels, **arguments).probabilities
    changed = labels.copy()
    changed[7] = 1 - changed[7]
    after = predict_out_of_fold(features, changed, **arguments).probabilities
    np.testing.assert_allclose(after[groups == groups[7]], before[groups == groups[7]], rtol=0, atol=1e-12)
    assert np.abs(after - before).max() > 1e-4  # the others learnt from it


def test_the_penalty_of_a_fold_is_chosen_in_the_others() -> None:
    """Labels are noise but in one group: its own fold alone would want a weak penalty, and does not get one."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(200, 5)).astype(np.float32)
    labels = generator.integers(0, 2, 200)
    groups = np.arange(200) // 50
    labels[groups == 3] = features[groups == 3, 0] > 0
    settings = replace(SETTINGS, penalties=(100.0, 0.001))
    found = predict_out_of_fold(features, labels, num_classes=2, groups=groups, settings=settings)
    (fold,) = {
        found.penalties[index] for index in range(4) if index_of_group(index, labels, groups, settings) == 3
    }
    assert fold == 100.0


def index_of_group(index: int, labels: np.ndarray, groups: np.ndarray, settings: SolverSettings) -> int:
    from regraft.training.linear_probe import group_folds

    return int(groups[group_folds(labels, groups, 2, settings)[index][1][0]])


def test_a_class_of_one_group_cannot_be_judged() -> None:
    features, labels = clouds(2)
    with pytest.raises(ValueError, match=r"audit\.hold_out to 'images'"):
        predict_out_of_fold(features, labels, num_classes=2, groups=labels, settings=SETTINGS)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_kernel_tells_what_no_plane_parts(num_classes: int) -> None:
    generator = np.random.default_rng(0)
    radius = np.repeat(np.arange(num_classes), 60) * 2 + generator.normal(0, 0.2, 60 * num_classes) + 0.5
    angle = generator.uniform(0, 2 * np.pi, len(radius))
    rings = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)
    labels = np.repeat(np.arange(num_classes), 60)
    settings = replace(SETTINGS, penalties=(1e-2, 1e-3))

    def told(kernel: Kernel | None) -> float:
        found = predict_out_of_fold(
            rings,
            labels,
            num_classes=num_classes,
            groups=np.arange(len(labels)),
            settings=settings,
            kernel=kernel,
        )
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
        return float((found.probabilities.argmax(axis=1) == labels).mean())

    assert told(None) < 0.75
    assert told(Kernel(num_centres=1000, gamma=2.0)) > 0.95
    assert told(Kernel(num_centres=40, gamma=2.0)) > 0.9


@pytest.mark.parametrize("kernel", [None, Kernel(num_centres=30, gamma=0.5)])
def test_many_features_are_judged_as_few_are(kernel: Kernel | None, monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clouds(3, num_rows=600)
    features = features * np.logspace(-1, 1, 5, dtype=np.float32) + 3
    features[:150] += 5  # standardised by the rows learnt from alone, each fold is another
    arguments = {"num_classes": 3, "groups": np.arange(600) // 50, "settings": SETTINGS, "kernel": kernel}
    held = predict_out_of_fold(features, labels, **arguments)
    monkeypatch.setattr(standardised_rows, "MOST_BYTES_HELD", 0)
    read = predict_out_of_fold(features, labels, **arguments)
    # 1e-4: both are solved in float32, to a gradient of 1e-4
    np.testing.assert_allclose(read.probabilities, held.probabilities, rtol=0, atol=1e-4)
    assert read.penalties == held.penalties
