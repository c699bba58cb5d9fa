"""Fine-tuning: some stages and the head, at a low rate, from the probe; the best epoch on `val` comes back.

Knows neither files nor trackers: border activations come from a store, metrics leave as log records.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from regraft.backbones.stage_choice import Unfreeze, chosen_stages
from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet
from regraft.save_points import SavePoints
from regraft.training.balance import Balance, Shares, learning_shares
from regraft.training.border import ArrayStore, border_inputs
from regraft.training.optimiser import OptimiserSettings
from regraft.training.reproducibility import Compute
from regraft.training.stage_receipt import stage_digests, stage_receipt
from regraft.training.tuning_loop import Examples, TuningLoop, measure_alone

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FineTuneSettings:
    """How much is trained, and how.

    Attributes:
        unfreeze: Which stages are trained, and the head with them; `none` hands the probe back.
        batch_norm: `frozen` keeps the statistics of the pretraining in every stage; `adapt` normalises each micro-batch
            by itself in the trained stages, and moves their statistics.
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

    unfreeze: Unfreeze
    batch_norm: Literal["frozen", "adapt"]
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
    """What came of it.

    Attributes:
        classifier: That of the best epoch.
        best_epoch: 0 is the probe.
        history: A row an epoch.
        receipt: A row a stage, the head last, with hashes before and after; see `stage_receipt`.
    """

    classifier: Classifier
    best_epoch: int
    history: list[dict[str, float]]
    receipt: list[dict[str, Any]]


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
    """Train some stages and the head of a classifier whose head is already fitted.

    What lies before the first trained stage is run once a view; each epoch runs the rest alone, and gradients pass
    through stages that are frozen behind a trained one. Nothing is dropped out. What an epoch trains on depends on the
    seed and its number only, and gradients are summed in a fixed order, so the result is the same for any number of
    streams.

    Args:
        probe: Not changed. Epoch 0 of the history is it, measured.
        train: Learnt from.
        val: Chooses the epoch; never learnt from.
        settings: See there.
        compute: Device, precision, streams.
        store: Keeps border activations.
        save_points: Keep what was trained so far; training goes on from there.

    Raises:
        ValueError: If the backbone lacks a stage that is to be trained.
        FrozenStageMovedError: If something moved that was frozen.

    Source:
        Head first, then stages from it: Kumar et al. 2022, arXiv:2202.10054.
    """
    stages = chosen_stages(
        settings.unfreeze, dict(probe.backbone.stages.items()), network=probe.backbone.spec.name
    )
    before = stage_digests(probe)
    classifier = copy.deepcopy(probe).to(compute.device)
    if settings.unfreeze == "none":
        inputs = _inputs(probe, None, val, "identity", settings, compute=compute, store=store)
        best_epoch, history = 0, [measure_alone(classifier, inputs, settings, compute=compute)]
    else:
        for module in (*(classifier.backbone.stages[stage] for stage in stages), classifier.head):
            module.requires_grad_(True)
            if settings.depthwise == "frozen":
                freeze_depthwise(module)
        first = stages[0] if stages else None
        loop = TuningLoop(classifier, stages, settings, compute=compute, save_points=save_points)
        best_epoch, history = loop.run(
            _inputs(probe, first, train, settings.views, settings, compute=compute, store=store),
            _inputs(probe, first, val, "identity", settings, compute=compute, store=store),
        )
    tuned = classifier.requires_grad_(False).cpu()
    receipt = stage_receipt(
        before,
        stage_digests(tuned),
        trained=() if settings.unfreeze == "none" else (*stages, "head"),
        adapted=stages if settings.batch_norm == "adapt" else (),
    )
    return FineTuned(tuned, best_epoch, history, receipt)


def _inputs(
    probe: Classifier,
    first_stage: str | None,
    split: Labelled,
    views: ViewSet,
    settings: FineTuneSettings,
    *,
    compute: Compute,
    store: ArrayStore,
) -> Examples:
    """A split as the first trained stage sees it; None: as the head does."""
    stages = list(probe.backbone.stages)
    num_frozen = len(stages) if first_stage is None else stages.index(first_stage)
    inputs = border_inputs(
        probe.backbone,
        stages[num_frozen - 1] if num_frozen else None,
        split.pixels,
        probe.preprocessing,
        views=views,
        batch_size=settings.micro_batch_size,
        compute=compute,
        store=store,
    )
    return Examples(inputs, split.labels, split.shares or learning_shares(split.labels, "none"))


def freeze_depthwise(module: nn.Module) -> None:
    """No gradients for its depthwise convolutions and the norms behind them."""
    layers = list(module.modules())
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.requires_grad_(False)
            if isinstance(following, nn.BatchNorm2d):
                following.requires_grad_(False)


def num_trained(classifier: Classifier, unfreeze: Unfreeze) -> Mapping[str, int]:
    """Parameters of the stages that a choice stands for, a number a stage, the head last."""
    stages = chosen_stages(unfreeze, dict(classifier.backbone.stages.items()))
    modules = {stage: classifier.backbone.stages[stage] for stage in stages} | {"head": classifier.head}
    return {name: sum(one.numel() for one in module.parameters()) for name, module in modules.items()}


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
