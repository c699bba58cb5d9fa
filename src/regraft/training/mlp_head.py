"""A multi-layer head fitted on frozen features until `val` stops getting better.

Knows feature arrays and labels only; no backbone is run here.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.heads.targets import BinaryTarget, MulticlassTarget
from regraft.messages import report_metrics
from regraft.training.balance import Balance, Floats, draw_order, learning_shares, measuring_weights
from regraft.training.learnt import loss_targets
from regraft.training.reproducibility import numpy_generator, seed_for

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MlpSettings:
    """How a multi-layer head is fitted.

    Attributes:
        learning_rate: AdamW's, constant.
        weight_decay: AdamW's.
        batch_size: Rows an update.
        max_epochs: A stop for what does not converge; reaching it shows in `FittedHead.is_converged`.
        patience: Epochs in a row without a lower log-loss on `val` after which the head has converged.
        seed: Initial weights, order of rows, dropout.
    """

    learning_rate: float
    weight_decay: float
    batch_size: int
    max_epochs: int
    patience: int
    seed: int


@dataclass(frozen=True)
class FittedHead:
    """A head for raw features, in evaluation mode; its best epoch; whether it converged; a row an epoch."""

    head: nn.Sequential
    best_epoch: int
    is_converged: bool
    history: list[dict[str, float]]


def fit_mlp_head(
    head: nn.Sequential,
    target: BinaryTarget | MulticlassTarget,
    train: tuple[NDArray[np.float32], Ints],
    val: tuple[NDArray[np.float32], Ints],
    *,
    settings: MlpSettings,
    balance: Balance = "none",
    probabilities: Floats | None = None,
    weights: Floats | None = None,
) -> FittedHead:
    """Train on standardised features; the epoch with the lowest log-loss on `val` is handed back.

    Standardisation is folded into the first linear layer of what is returned.

    Args:
        head: Layers, the first of them linear; not changed.
        target: Gives the loss.
        train: Features `(N, D)` float32 and labels `(N,)`.
        val: The same, of the validation split.
        settings: See there.
        balance: What is done about classes of unequal size; unless it is `none`, every class counts the same on `val`.
        probabilities: `(N, K)` class probabilities, learnt instead of the labels of `train`.
        weights: `(N,)`, mean 1, what each image of `train` counts beside its class; all 1 if None.
    """
    mean, scale = train[0].mean(axis=0), train[0].std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1.0).astype(np.float32)
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(settings.seed, "mlp_head"))
        head = copy.deepcopy(head)
        head.apply(lambda module: module.reset_parameters() if isinstance(module, nn.Linear) else None)
        features, labels = torch.from_numpy((train[0] - mean) / scale), torch.from_numpy(train[1])
        val_features, val_labels = torch.from_numpy((val[0] - mean) / scale), torch.from_numpy(val[1])
        shares = learning_shares(train[1], balance)
        counted = torch.from_numpy(shares.weights * (1 if weights is None else weights)).float()
        targets = labels if probabilities is None else torch.from_numpy(loss_targets(probabilities))
        val_weights = torch.from_numpy(measuring_weights(val[1], balance))
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        history: list[dict[str, float]] = []
        best, best_epoch, best_loss = copy.deepcopy(head.state_dict()), 0, np.inf
        for epoch in range(1, settings.max_epochs + 1):
            order = draw_order(shares.draws, numpy_generator(settings.seed, "mlp_head", epoch))
            head.train()
            total = 0.0
            for rows in torch.split(torch.from_numpy(order), settings.batch_size):
                logits = head(features[rows])
                loss = target.loss(logits, targets[rows], label_smoothing=0.0, weights=counted[rows])
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                total += loss.item() * len(rows)
            head.eval()
            with torch.no_grad():
                logits = head(val_features)
                val_loss = target.loss(
                    logits, val_labels, label_smoothing=0.0, weights=val_weights.float()
                ).item()
                is_right = target.answers(logits).argmax(dim=1) == val_labels
                accuracy = (is_right * val_weights).mean().item()
            row = {"train_loss": total / len(labels), "val_log_loss": val_loss, "val_accuracy": accuracy}
            report_metrics({f"head/{name}": value for name, value in row.items()}, step=epoch)
            history.append({"epoch": epoch, **row})
            if val_loss < best_loss:
                best, best_epoch, best_loss = copy.deepcopy(head.state_dict()), epoch, val_loss
            if epoch - best_epoch >= settings.patience:
                break
    head.load_state_dict(best)
    first = next(module for module in head if isinstance(module, nn.Linear))
    with torch.no_grad():
        first.weight.div_(torch.from_numpy(scale))
        first.bias.sub_(first.weight @ torch.from_numpy(mean))
    return FittedHead(
        head.requires_grad_(False),
        best_epoch,
        best_epoch > 0 and history[-1]["epoch"] - best_epoch >= settings.patience,
        history,
    )
