from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from regraft.heads.layers import MlpLayers
from regraft.heads.targets import target_for
from regraft.training.balance import Balance
from regraft.training.mlp_head import FittedHead, MlpSettings, fit_mlp_head

SETTINGS = MlpSettings(
    learning_rate=1e-2, weight_decay=1e-2, batch_size=16, max_epochs=60, patience=10, seed=0
)
TARGET = target_for("label", ("same", "different"))


def make_xor(num_rows: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two signs: equal or not; what no linear layer can tell. Features of unlike scale, far from 0."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], (num_rows, 2))
    features = signs + generator.normal(size=signs.shape) * 0.2
    return (features * [100, 0.1] + [500, -3]).astype(np.float32), (signs[:, 0] != signs[:, 1]).astype(
        np.int64
    )


TRAIN, VAL = make_xor(128, seed=0), make_xor(64, seed=1)
FLIPPED_VAL = (VAL[0], 1 - VAL[1])


def make_layers(dropout: float = 0.0) -> nn.Sequential:
    return MlpLayers(kind="mlp", hidden_sizes=(16,), dropout=dropout).build(2, 1)


def fit(val: tuple[np.ndarray, np.ndarray] = VAL, **changes: float) -> FittedHead:
    return fit_mlp_head(make_layers(0.1), TARGET, TRAIN, val, settings=replace(SETTINGS, **changes))


def test_balancing_finds_more_of_a_rare_class() -> None:
    generator = np.random.default_rng(0)
    labels = (np.arange(400) % 20 == 0).astype(np.int64)
    features = (generator.normal(size=(400, 2)) + 1.2 * labels[:, None]).astype(np.float32)
    train, val = (features[:200], labels[:200]), (features[200:], labels[200:])
    found = {}
    balances: tuple[Balance, ...] = ("none", "class_weights", "balanced_sampler")
    for balance in balances:
        head = fit_mlp_head(make_layers(), TARGET, train, val, settings=SETTINGS, balance=balance).head
        with torch.no_grad():
            is_rare = head(torch.from_numpy(val[0])).squeeze(1) > 0
        found[balance] = is_rare[val[1] == 1].double().mean().item()
    assert found["none"] < 0.4
    assert min(found["class_weights"], found["balanced_sampler"]) > 0.6


def val_loss(head: nn.Sequential, val: tuple[np.ndarray, np.ndarray]) -> float:
    with torch.no_grad():
        return TARGET.loss(head(torch.from_numpy(val[0])), torch.from_numpy(val[1]), label_smoothing=0).item()


def test_learns_what_no_linear_layer_can() -> None:
    fitted = fit(max_epochs=200)
    assert fitted.is_converged
    assert fitted.history[fitted.best_epoch - 1]["val_accuracy"] > 0.95
    with torch.no_grad():
        predicted = TARGET.answers(fitted.head(torch.from_numpy(VAL[0]))).argmax(dim=1).numpy()
    assert (predicted == VAL[1]).mean() > 0.95
    assert not fitted.head.training
    assert not any(parameter.requires_grad for parameter in fitted.head.parameters())


def test_best_epoch_is_handed_back_and_not_the_last() -> None:
    fitted = fit(FLIPPED_VAL, max_epochs=20, patience=5)  # the better it learns, the worse on this val
    losses = [row["val_log_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + int(np.argmin(losses)) < len(losses)
    assert losses[-1] > 1.1 * min(losses)
    # 1e-4: standardisation, folded into the first layer, is rounded to float32
    assert val_loss(fitted.head, FLIPPED_VAL) == pytest.approx(min(losses), rel=1e-4)


def test_stops_after_patience() -> None:
    fitted = fit(FLIPPED_VAL, patience=3)
    assert fitted.is_converged
    assert len(fitted.history) == fitted.best_epoch + 3
    assert [row["epoch"] for row in fitted.history] == list(range(1, len(fitted.history) + 1))


def test_epochs_used_up_is_not_converged() -> None:
    fitted = fit(max_epochs=3)
    assert not fitted.is_converged
    assert len(fitted.history) == 3


def test_diverged_is_not_converged() -> None:
    assert not fit(learning_rate=1e30, patience=2).is_converged


def test_same_seed_same_bits_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = fit(max_epochs=5)
    torch.manual_seed(2)
    again, other = fit(max_epochs=5), fit(max_epochs=5, seed=1)
    assert first.history == again.history
    for one, two in zip(first.head.parameters(), again.head.parameters(), strict=True):
        assert torch.equal(one, two)
    assert first.history != other.history


def test_global_generators_are_left_alone() -> None:
    layers, before = make_layers(0.1), (torch.get_rng_state(), np.random.get_state()[1].tolist())
    fit_mlp_head(layers, TARGET, TRAIN, VAL, settings=replace(SETTINGS, max_epochs=2))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_given_layers_and_features_are_not_changed() -> None:
    layers, features = make_layers(), TRAIN[0].copy()
    before = [parameter.clone() for parameter in layers.parameters()]
    fit_mlp_head(layers, TARGET, TRAIN, VAL, settings=replace(SETTINGS, max_epochs=2))
    assert all(torch.equal(one, two) for one, two in zip(layers.parameters(), before, strict=True))
    assert np.array_equal(TRAIN[0], features)


def test_val_chooses_but_teaches_nothing() -> None:
    losses = [[row["train_loss"] for row in fit(val, max_epochs=5).history] for val in (VAL, FLIPPED_VAL)]
    assert losses[0] == losses[1]


def test_a_feature_that_never_varies_says_nothing() -> None:
    train, val = ((np.pad(data[0], ((0, 0), (0, 1)), constant_values=3), data[1]) for data in (TRAIN, VAL))
    layers = MlpLayers(kind="mlp", hidden_sizes=(4,), dropout=0.0).build(3, 1)
    fitted = fit_mlp_head(layers, TARGET, train, val, settings=replace(SETTINGS, max_epochs=2))
    assert np.isfinite(val_loss(fitted.head, val))
