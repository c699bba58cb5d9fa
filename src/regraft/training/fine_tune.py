"""Fine-tuning: the last stages and the head, at a low rate, from the probe; the best epoch on `val` comes back.

Knows neither files nor trackers: border activations come from a store, metrics leave as log records.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet
from regraft.save_points import SavePoints
from regraft.training.balance import Balance, Shares, learning_shares
from regraft.training.border import ArrayStore, border_inputs
from regraft.training.optimiser import OptimiserSettings
from regraft.training.reproducibility import Compute
from regraft.training.tuning_loop import Examples, TuningLoop

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FineTuneSettings:
    """How the last stages are trained.

    Attributes:
        num_stages: Stages trained, counted from the last; 0 trains the head alone.
        depthwise: Whether depthwise convolutions of those stages are `trained` or stay `frozen`, each with the norm
            behind it. On a CPU the gradient of their weights takes half of a step.
        optimiser: Rates, decay, warm-up.
        max_epochs: Epochs at most; the schedule spans them all.
        patience: Epochs without a better `selection_metric` after which training stops.
        selection_metric: The epoch with the least loss, or most accuracy, on `val` is handed back.
        batch_size: Images an update.
        micro_batch_size: Images whose gradient is computed at once; the sum over a batch is taken in their order.
        label_smoothing: Fraction of each label spread over all classes.
        views: Views of an image that training draws from; label-safe for the data at hand.
        averaging: Decay an update of the running mean of weights that is measured and handed back; 0 switches it off.
        seed: Orders images and draws views.
    """

    num_stages: int
    depthwise: Literal["trained", "frozen"]
    optimiser: OptimiserSettings
    max_epochs: int
    patience: int
    selection_metric: Literal["log_loss", "accuracy"]
    batch_size: int
    micro_batch_size: int
    label_smoothing: float
    views: ViewSet
    averaging: float
    seed: int


@dataclass(frozen=True)
class Labelled:
    """Images of one split.

    Attributes:
        pixels: `(N, S, S, 3)` uint8.
        labels: `(N,)` int64.
        shares: What each image counts; None: all the same.
    """

    pixels: NDArray[np.uint8]
    labels: Ints
    shares: Shares | None = None


@dataclass(frozen=True)
class FineTuned:
    """The classifier of the best epoch, which epoch that was (0: the probe), and a row an epoch."""

    classifier: Classifier
    best_epoch: int
    history: list[dict[str, float]]


def fine_tune(
    probe: Classifier,
    train: Labelled,
    val: Labelled,
    *,
    settings: FineTuneSettings,
    compute: Compute,
    store: ArrayStore,
    save_points: SavePoints,
) -> FineTuned:
    """Train the last stages and the head of a classifier whose head is already fitted.

    Everything stays in evaluation mode: batch-norm statistics are those of pretraining in every stage, frozen or
    trained, and nothing is dropped out. Frozen stages are run once a view; each epoch runs the trained ones alone.
    What an epoch trains on depends on the seed and its number only, and gradients are summed in a fixed order, so
    the result is the same for any number of streams.

    Args:
        probe: Not changed. Epoch 0 of the history is it, measured.
        train: Learnt from.
        val: Chooses the epoch; never learnt from.
        settings: See there.
        compute: Device, precision, streams.
        store: Keeps border activations.
        save_points: Keep what was trained so far; training goes on from there.

    Raises:
        ValueError: If more stages are to be trained than the backbone has.

    Source:
        Head first, then the last stages from it: Kumar et al. 2022, arXiv:2202.10054.
    """
    classifier = copy.deepcopy(probe).to(compute.device)
    stages = list(classifier.backbone.stages)
    if settings.num_stages > len(stages):
        raise ValueError(
            f"cannot train the last {settings.num_stages} stages; the backbone has {len(stages)}: {stages}"
        )
    split_at = len(stages) - settings.num_stages
    trained = [classifier.backbone.stages[stage] for stage in stages[split_at:]] + [classifier.head]
    for module in trained:
        module.requires_grad_(True)
        if settings.depthwise == "frozen":
            freeze_depthwise(module)
    border = stages[split_at - 1] if split_at else None
    inputs = {
        name: border_inputs(
            probe.backbone,
            border,
            split.pixels,
            probe.preprocessing,
            views=views,
            batch_size=settings.micro_batch_size,
            compute=compute,
            store=store,
        )
        for name, split, views in (("train", train, settings.views), ("val", val, "identity"))
    }
    loop = TuningLoop(
        classifier,
        trained,
        stages[split_at] if settings.num_stages else None,
        settings,
        compute=compute,
        save_points=save_points,
    )
    best_epoch, history = loop.run(
        *(
            Examples(inputs[name], split.labels, split.shares or learning_shares(split.labels, "none"))
            for name, split in (("train", train), ("val", val))
        )
    )
    return FineTuned(classifier.requires_grad_(False).cpu(), best_epoch, history)


def freeze_depthwise(module: nn.Module) -> None:
    """No gradients for its depthwise convolutions and the norms behind them."""
    layers = list(module.modules())
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.requires_grad_(False)
            if isinstance(following, nn.BatchNorm2d):
                following.requires_grad_(False)


def num_trained(classifier: Classifier, num_stages: int) -> Mapping[str, int]:
    """Parameters that fine-tuning the last stages moves, a number a stage, the head last."""
    stages = list(classifier.backbone.stages.items())
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in stages[len(stages) - num_stages :]
    }
    return counts | {"head": sum(parameter.numel() for parameter in classifier.head.parameters())}


def labelled(
    pixels: NDArray[np.uint8], manifest: pd.DataFrame, split: str, column: str, balance: Balance = "none"
) -> Labelled:
    """The images of a split with the labels of a target's column; pixels are copied into memory.

    What is only measured is weighted where what is learnt from is weighted or drawn evenly.
    """
    rows = np.flatnonzero(manifest["split"] == split)
    labels = manifest[column].to_numpy(np.int64)[rows]
    is_learnt = split == "train" or balance == "none"
    shares = learning_shares(labels, balance if is_learnt else "class_weights")
    return Labelled(np.ascontiguousarray(pixels[rows]), labels, shares)
