from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

from regraft.backbones.backbone import Backbone
from regraft.heads.layers import LinearLayers, MlpLayers
from regraft.training.balance import even_weights
from regraft.training.balanced_head import fit_balanced_head, score_candidates
from regraft.training.head import fit_head
from regraft.training.linear_probe import SolverSettings
from regraft.training.mlp_head import MlpSettings

LINEAR = SolverSettings(penalties=(0.1,), num_folds=3, tolerance=1e-6, max_iterations=1000, seed=0)
MLP = MlpSettings(learning_rate=5e-2, weight_decay=0.01, batch_size=16, max_epochs=100, patience=3, seed=0)
NAMES = {"label": ["common", "rare"]}


@pytest.fixture
def backbone(make_backbone: Callable[..., Backbone]) -> Backbone:
    return make_backbone()


def make_table(backbone: Backbone, *, rare_fraction: float) -> tuple[np.ndarray, pd.DataFrame]:
    """Overlapping clouds; half of the rows are val."""
    generator = np.random.default_rng(0)
    labels = (np.arange(600) % 200 < 200 * rare_fraction).astype(np.int64)
    features = generator.normal(size=(600, sum(backbone.feature_dims.values()))).astype(np.float32)
    features[:, -1] += 1.5 * labels
    split = np.where(np.arange(600) % 2 == 0, "train", "val")
    return features, pd.DataFrame({"split": split, "label": labels, "group": None})


def fit(backbone: Backbone, rare_fraction: float, balance: str, **changes: object) -> tuple:
    features, manifest = make_table(backbone, rare_fraction=rare_fraction)
    given = {"layers": LinearLayers(), "settings": LINEAR} | changes
    return fit_balanced_head(features, backbone.feature_dims, manifest, NAMES, balance=balance, **given)


def test_auto_balances_where_a_class_is_rare(backbone: Backbone) -> None:
    head, history, choice = fit(backbone, 0.06, "auto")
    assert (choice["asked"], choice["chosen"]) == ("auto", "class_weights")
    none, weighted = choice["candidates"]
    assert none["excess"] > none["standard_error"] > 0
    assert weighted["excess"] == 0
    assert weighted["balanced_accuracy"] > none["balanced_accuracy"]
    assert weighted["accuracy"] < none["accuracy"]
    assert choice["class_weights"] == pytest.approx({"common": 1 / 1.88, "rare": 1 / 0.12})
    assert "class_weights is the least" in choice["reason"]
    features, manifest = make_table(backbone, rare_fraction=0.06)
    alone, its_history = fit_head(
        features,
        backbone.feature_dims,
        manifest,
        NAMES,
        layers=LinearLayers(),
        settings=LINEAR,
        balance="class_weights",
    )
    assert torch.equal(head.modules[0].weight, alone.modules[0].weight)
    assert history == its_history


def test_auto_leaves_even_classes_as_they_are(backbone: Backbone) -> None:
    _, _, choice = fit(backbone, 0.5, "auto")
    assert choice["chosen"] == "none"
    assert [row["balance"] for row in choice["candidates"]] == ["none", "class_weights"]


def test_auto_tries_the_sampler_too_where_the_head_learns_by_updates(backbone: Backbone) -> None:
    layers = MlpLayers(kind="mlp", hidden_sizes=(8,), dropout=0.0)
    _, _, choice = fit(backbone, 0.06, "auto", layers=layers, settings=MLP)
    tried = [row["balance"] for row in choice["candidates"]]
    assert tried == ["none", "class_weights", "balanced_sampler"]
    assert len({row["balanced_log_loss"] for row in choice["candidates"]}) == 3
    assert choice["chosen"] != "none"


@pytest.mark.parametrize("balance", ["none", "class_weights", "balanced_sampler"])
def test_what_is_asked_for_is_taken(backbone: Backbone, balance: str) -> None:
    _, _, choice = fit(backbone, 0.06, balance)
    assert (choice["asked"], choice["chosen"], choice["reason"]) == (balance, balance, "asked for")
    assert len(choice["candidates"]) == 1


def test_scores_are_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0] * 30 + [1] * 8 + [2] * 2)
    probabilities = generator.dirichlet(np.ones(3), len(labels))
    (row,) = score_candidates({"none": probabilities}, labels, np.arange(len(labels)))
    predicted = probabilities.argmax(axis=1)
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert row["log_loss"] == pytest.approx(log_loss(labels, probabilities))
    weights = even_weights(labels)
    assert row["balanced_log_loss"] == pytest.approx(log_loss(labels, probabilities, sample_weight=weights))


def test_images_of_one_group_do_not_make_a_difference_surer() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(20) % 2
    first, second = (generator.dirichlet(np.ones(2), 20) for _ in range(2))
    candidates = {"none": first, "class_weights": second}
    (once,) = (row for row in score_candidates(candidates, labels, np.arange(20)) if row["excess"])
    tenfold = {name: np.tile(of_name, (10, 1)) for name, of_name in candidates.items()}
    rows = score_candidates(tenfold, np.tile(labels, 10), np.tile(np.arange(20), 10))
    (ten_times,) = (row for row in rows if row["excess"])
    assert ten_times["excess"] == pytest.approx(once["excess"])
    assert ten_times["standard_error"] == pytest.approx(once["standard_error"])
