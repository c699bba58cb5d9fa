from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.backbones.backbone import Backbone
from regraft.classifier import Head
from regraft.heads.layers import LinearLayers, MlpLayers
from regraft.training.feature_columns import stage_columns
from regraft.training.head import NotConvergedError, fit_head
from regraft.training.linear_probe import SolverSettings, fit_linear_probe
from regraft.training.mlp_head import MlpSettings
from regraft.training.units import units_of, units_of_training

LINEAR = SolverSettings(penalties=(1.0, 0.1), num_folds=3, tolerance=1e-6, max_iterations=1000, seed=0)
MLP = MlpSettings(learning_rate=5e-2, weight_decay=0.01, batch_size=16, max_epochs=100, patience=3, seed=0)
MLP_LAYERS = MlpLayers(kind="mlp", hidden_sizes=(8,), dropout=0.1)
NAMES = {"label": ["disc", "square", "cross"]}


@pytest.fixture
def backbone(make_backbone: Callable[..., Backbone]) -> Backbone:
    return make_backbone()


def make_table(backbone: Backbone, num_rows: int = 90) -> tuple[np.ndarray, pd.DataFrame]:
    """Features of random numbers in which the columns of the cut tell the label; a manifest of all splits."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_rows) % 3
    features = generator.normal(size=(num_rows, sum(backbone.feature_dims.values()))).astype(np.float32)
    at_cut = stage_columns(backbone.feature_dims)[backbone.cut]
    features[:, at_cut] += 0.8 * generator.normal(size=(3, backbone.feature_dim))[labels]
    manifest = pd.DataFrame(
        {
            "split": np.array(["train", "train", "train", "val", "test"])[np.arange(num_rows) // 3 % 5],
            "label": labels,
            "group": None,
        }
    )
    return features, manifest


def fit(features: np.ndarray, backbone: Backbone, manifest: pd.DataFrame, **more: Any) -> tuple[Head, dict]:
    return fit_head(
        features, backbone.feature_dims, manifest, NAMES, layers=LinearLayers(), settings=LINEAR, **more
    )


def test_probe_is_fitted_on_training_rows_and_columns_of_the_cut(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    head, history = fit(features, backbone, manifest)
    train = (manifest["split"] == "train").to_numpy()
    expected = fit_linear_probe(
        features[train][:, -backbone.feature_dim :],
        manifest["label"].to_numpy()[train],
        num_classes=3,
        groups=np.arange(train.sum()),
        settings=LINEAR,
    )
    # 1e-6 of 1: rounded to float32
    np.testing.assert_allclose(head.modules[0].weight.numpy(), expected.weight, rtol=1e-6)
    np.testing.assert_allclose(head.modules[0].bias.numpy(), expected.bias, rtol=1e-6)
    assert history["summary"]["penalty"] == expected.penalty
    assert history["rows"] == expected.history
    assert head.feature_dim == backbone.feature_dim == 40
    assert head.target.label_names == ("disc", "square", "cross")


def test_views_of_training_images_are_learnt_from_with_their_labels(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    generator = np.random.default_rng(1)
    views = [features + generator.normal(size=features.shape).astype(np.float32) for _ in range(2)]
    head, history = fit(features, backbone, manifest, view_features=np.concatenate(views))
    train = (manifest["split"] == "train").to_numpy()
    expected = fit_linear_probe(
        np.concatenate([part[train][:, -backbone.feature_dim :] for part in (features, *views)]),
        np.tile(manifest["label"].to_numpy()[train], 3),
        num_classes=3,
        groups=np.tile(np.arange(train.sum()), 3),
        settings=LINEAR,
    )
    np.testing.assert_allclose(head.modules[0].weight.numpy(), expected.weight, rtol=1e-6)
    assert history["rows"] == expected.history
    plain, _ = fit(features, backbone, manifest)
    assert not np.allclose(head.modules[0].weight.numpy(), plain.modules[0].weight.numpy())


def test_the_mean_of_views_is_one_image(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    generator = np.random.default_rng(1)
    views = [features + generator.normal(size=features.shape).astype(np.float32) for _ in range(3)]
    head, history = fit(features, backbone, manifest, view_features=np.concatenate(views), views_seen="mean")
    expected, of_expected = fit(np.mean([features, *views], axis=0), backbone, manifest)
    # 1e-4 of weights of 0.1: the same means, summed in another order
    np.testing.assert_allclose(head.modules[0].weight, expected.modules[0].weight, rtol=0, atol=1e-5)
    assert history["summary"]["penalty"] == of_expected["summary"]["penalty"]
    assert (head.views_seen, expected.views_seen) == ("mean", "each")


@pytest.mark.parametrize(("split", "is_told"), [("train", True), ("val", False), ("test", False)])
def test_probe_never_looks_at_val_or_test(backbone: Backbone, split: str, is_told: bool) -> None:
    features, manifest = make_table(backbone)
    before = fit(features, backbone, manifest)[0].modules[0].weight
    rows = np.flatnonzero(manifest["split"] == split)
    features[rows] = features[rows[::-1]]
    after = fit(features, backbone, manifest)[0].modules[0].weight
    assert torch.equal(before, after) == (not is_told)


def test_mlp_never_looks_at_test(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)

    def weight() -> torch.Tensor:
        head, _ = fit_head(features, backbone.feature_dims, manifest, NAMES, layers=MLP_LAYERS, settings=MLP)
        return head.modules[0].weight

    before = weight()
    features[manifest["split"] == "test"] = 1e3
    assert torch.equal(weight(), before)
    features[manifest["split"] == "val"] *= -1
    assert not torch.equal(weight(), before)


def test_mlp_history_says_why_it_counts_as_fitted(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    head, history = fit_head(
        features, backbone.feature_dims, manifest, NAMES, layers=MLP_LAYERS, settings=MLP
    )
    assert history["summary"]["is_converged"]
    assert history["summary"]["criterion"] == "no lower log-loss on val for 3 epochs"
    assert len(history["rows"]) == history["summary"]["best_epoch"] + 3
    assert head.layers == MLP_LAYERS
    assert not any(parameter.requires_grad for parameter in head.modules.parameters())


@pytest.mark.parametrize(
    ("layers", "settings"),
    [
        (LinearLayers(), SolverSettings((0.1,), num_folds=3, tolerance=1e-6, max_iterations=1, seed=0)),
        (MLP_LAYERS, MlpSettings(1e-2, 0.01, batch_size=16, max_epochs=2, patience=5, seed=0)),
    ],
)
def test_what_did_not_converge_is_no_head(
    backbone: Backbone, layers: LinearLayers | MlpLayers, settings: SolverSettings | MlpSettings
) -> None:
    features, manifest = make_table(backbone)
    with pytest.raises(NotConvergedError, match=r"did not converge.*raise train_head\.head\.max_"):
        fit_head(features, backbone.feature_dims, manifest, NAMES, layers=layers, settings=settings)


@pytest.mark.parametrize(("layers", "settings"), [(LinearLayers(), LINEAR), (MLP_LAYERS, MLP)])
def test_global_generator_is_left_alone(
    backbone: Backbone, layers: LinearLayers | MlpLayers, settings: SolverSettings | MlpSettings
) -> None:
    features, manifest = make_table(backbone)
    before = torch.get_rng_state()
    fit_head(features, backbone.feature_dims, manifest, NAMES, layers=layers, settings=settings)
    assert torch.equal(torch.get_rng_state(), before)


def test_two_labels_make_one_logit(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    manifest["label"] %= 2
    names = {"label": ["functional", "defective"]}
    head, _ = fit_head(
        features, backbone.feature_dims, manifest, names, layers=LinearLayers(), settings=LINEAR
    )
    assert head.modules[0].weight.shape == (1, 40)
    assert head.target.kind == "binary"


def test_an_image_without_group_is_a_group_of_its_own() -> None:
    for missing in (None, np.nan, pd.NA):
        manifest = pd.DataFrame({"group": ["a", missing, "b", "a", missing]}, index=[7, 8, 9, 10, 11])
        first, alone, second, again, other = units_of(manifest).tolist()
        assert first == again
        assert len({first, alone, second, other}) == 4


@pytest.mark.parametrize(
    ("groups_of_others", "expected"),
    [
        (["c", "d", "d"], [0, 0, 1, 1]),  # held out: groups stay together
        (["a", "d", None], [0, 0, 1, 1]),  # all but one
        (["a", "b", "d"], [0, 1, 1, 2]),  # learnt from as well: sets of near copies do
    ],
)
def test_folds_keep_together_what_the_split_does(groups_of_others: list, expected: list[int]) -> None:
    manifest = pd.DataFrame(
        {
            "split": ["train"] * 4 + ["val", "test", "test"],
            "group": ["a", "a", "b", "b", *groups_of_others],
            "copy_group": [None, "x", "x", None, None, None, None],
        }
    )
    assert units_of_training(manifest).tolist() == expected
    if expected == [0, 1, 1, 2]:
        assert units_of_training(manifest.drop(columns="copy_group")).tolist() == [0, 1, 2, 3]


def test_probabilities_and_weights_of_the_manifest_reach_both_kinds_of_head(backbone: Backbone) -> None:
    features, manifest = make_table(backbone)
    names = NAMES["label"]
    certain = {f"soft_{name}": (manifest["label"] == number) * 1.0 for number, name in enumerate(names)}
    undecided = {f"soft_{name}": 1 / 3 for name in names}
    first = (np.arange(len(manifest)) < 45) * 1.0  # the others count nothing
    for layers, settings in ((LinearLayers(), LINEAR), (MLP_LAYERS, MLP)):

        def probabilities(
            columns: dict, layers: Any = layers, settings: Any = settings, **options: Any
        ) -> np.ndarray:
            table = manifest.assign(**columns)
            head, _ = fit_head(
                features, backbone.feature_dims, table, NAMES, layers=layers, settings=settings, **options
            )
            with torch.no_grad():
                at_cut = torch.from_numpy(features[:, -backbone.feature_dim :])
                return head.target.answers(head.modules(at_cut)).numpy()

        plain = probabilities(undecided)  # not asked for
        # 1e-3: the same sums, added otherwise, over some hundred updates of the MLP
        np.testing.assert_allclose(probabilities(certain, learn_from="probabilities"), plain, atol=1e-3)
        assert probabilities(undecided, learn_from="probabilities").max() < 0.6 < plain.max()
        assert np.abs(probabilities({"weight": first}) - plain).max() > 0.01
    with pytest.raises(ValueError, match="probability_columns"):
        fit_head(
            features,
            backbone.feature_dims,
            manifest,
            NAMES,
            layers=LinearLayers(),
            settings=LINEAR,
            learn_from="probabilities",
        )
