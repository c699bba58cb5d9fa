"""Fine-tuning: some stages and the head, at a low rate, from the probe; the best epoch on `val` comes back.

Knows neither files nor trackers: border activations come from a store, metrics leave as log records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.backbones.stage_choice import Unfreeze, chosen_stages
from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet, num_views
from regraft.heads.several import SeveralTargets
from regraft.images.blocks import ReadByRows, RowsOf
from regraft.images.target_columns import label_array
from regraft.save_points import SavePoints
from regraft.training.balance import Balance, Shares, learning_shares
from regraft.training.border import ArrayStore
from regraft.training.calibrate import calibrate
from regraft.training.from_scratch import from_scratch
from regraft.training.interpolation import Interpolated, interpolate
from regraft.training.learnt import LearnFrom, given_weights, learnt_probabilities, loss_targets
from regraft.training.optimiser import OptimiserSettings
from regraft.training.reproducibility import Compute
from regraft.training.scoring import SelectionMetric, scores_of
from regraft.training.search_stages import Searched, search_stages
from regraft.training.stage_receipt import stage_digests, stage_receipt
from regraft.training.stage_training import examples, train_stages
from regraft.training.unfreeze_search import SearchSettings

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FineTuneSettings:
    """How much is trained, and how.

    Attributes:
        start: From the probe, or from `scratch`: the same network with random weights.
        unfreeze: Which stages are trained, and the head with them; `none` hands the start back; `auto` searches.
        search: How `auto` does.
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
        views_per_image: In how many of them it is shown, drawn for each image; None: in all. Fewer cost fewer frozen
            passes and less memory.
        averaging: Decay an update of the running mean of weights that is measured and handed back; 0 switches it off.
        interpolate: The model handed back lies between start (0) and best epoch (1); `auto` asks `val`, `none` is 1.
        calibrate: Whether the logits of what was trained are divided by the temperature that `val` asks for.
        seed: Orders images and draws views.
    """

    start: Literal["probe", "scratch"]
    unfreeze: Unfreeze
    search: SearchSettings
    batch_norm: Literal["frozen", "adapt"]
    depthwise: Literal["trained", "frozen"]
    optimiser: OptimiserSettings
    max_epochs: int
    patience: int
    selection_metric: SelectionMetric
    batch_size: int
    micro_batch_size: int
    label_smoothing: float
    views: ViewSet
    views_per_image: int | None
    averaging: float
    interpolate: float | Literal["none", "auto"]
    calibrate: bool
    seed: int

    @property
    def num_kept_views(self) -> int:
        """How many frozen passes an image to learn from costs."""
        return min(num_views(self.views), self.views_per_image or num_views(self.views))


@dataclass(frozen=True)
class Labelled:
    """Images of one split.

    Attributes:
        pixels: `(N, S, S, 3 or 1)` uint8.
        labels: `(N,)` int64, or `(N, L)` float64 of several targets.
        shares: What each image counts; None: all the same.
        targets: `(N,)` or `(N, K)` as the target's loss takes them, learnt instead of the labels; None: the labels.
    """

    pixels: ReadByRows
    labels: NDArray[Any]
    shares: Shares | None = None
    targets: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class FineTuned:
    """What came of it.

    Attributes:
        classifier: That of the best epoch, the mean that a search gave, or between these and the start.
        unfreeze: What was trained, where a search has chosen it too.
        best_epoch: 0 is the start: the probe. Of a mean, that of the model that counts most in it, as is `history`.
        history: A row an epoch.
        val: The scores of the classifier; see `score`.
        receipt: A row a stage, the head last, with hashes before and after; see `stage_receipt`.
        search: A row a trial; see `search_unfreeze`. None where nothing was searched.
        coefficient: 1 is the best epoch, 0 the start.
        interpolation: A row a coefficient tried; see `interpolate`.
        temperatures: By target of classes, by which its logits were divided; none where they were left as they are.
    """

    classifier: Classifier
    unfreeze: Unfreeze
    best_epoch: int
    history: list[dict[str, float]]
    val: dict[str, float]
    receipt: list[dict[str, Any]]
    search: list[dict[str, Any]]
    coefficient: float
    interpolation: list[dict[str, float]]
    temperatures: Mapping[str, float]

    @property
    def temperature(self) -> float:
        """The greatest of them; 1 where logits were left as they are."""
        return max(self.temperatures.values(), default=1.0)


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
    start = from_scratch(probe, seed=settings.seed) if settings.start == "scratch" else probe
    before = stage_digests(start)
    given: dict[str, Any] = {
        "settings": settings,
        "compute": compute,
        "store": store,
        "save_points": save_points,
    }
    if settings.unfreeze == "auto":
        searched = search_stages(start, train, val, **given)
    else:
        searched = Searched(train_stages(start, train, val, **given), settings.unfreeze, [])
    trained, unfreeze = searched.trained, searched.unfreeze
    stages = chosen_stages(unfreeze, dict(start.backbone.stages.items()), network=start.backbone.spec.name)
    between, scores = Interpolated(trained.classifier, 1.0, []), trained.val
    temperatures: dict[str, float] = {}
    if trained.best_epoch > 0:
        first = stages[0] if stages else None
        seen = examples(start, first, val, "identity", settings, compute=compute, store=store)
        passes: dict[str, Any] = {"batch_size": settings.micro_batch_size, "compute": compute}
        if settings.interpolate != "none":
            between = interpolate(
                start,
                trained.classifier,
                first,
                seen,
                coefficient=settings.interpolate,
                metric=settings.selection_metric,
                **passes,
            )
            scores = next(scores_of(row) for row in between.rows if row["coefficient"] == between.coefficient)
        if settings.calibrate and between.coefficient > 0:
            temperatures = calibrate(between.classifier, first, seen, **passes)
            if max(temperatures.values(), default=1) > 1:
                scores = {**scores, "val_log_loss": scores["val_calibrated_log_loss"]}
    tuned = between.classifier.cpu()
    receipt = stage_receipt(
        before,
        stage_digests(tuned),
        trained=() if unfreeze == "none" else (*stages, "head"),
        adapted=stages if settings.batch_norm == "adapt" else (),
    )
    return FineTuned(
        classifier=tuned,
        unfreeze=unfreeze,
        best_epoch=trained.best_epoch,
        history=trained.history,
        receipt=receipt,
        val=scores,
        search=searched.rows,
        coefficient=between.coefficient,
        interpolation=between.rows,
        temperatures=temperatures,
    )


def labelled_several(
    pixels: NDArray[np.uint8],
    manifest: pd.DataFrame,
    split: str,
    targets: Sequence[Mapping[str, Any]],
    target: SeveralTargets,
) -> Labelled:
    """The images of a split with several targets, as `describe_targets` describes them, and as a head has them; see
    `labelled`."""
    rows = np.flatnonzero(manifest["split"] == split)
    images = manifest.iloc[rows]
    labels, ones = label_array(images, targets), np.ones(len(rows))
    weights = given_weights(images) if split == "train" else ones
    return Labelled(RowsOf(pixels, rows), labels, Shares(weights, ones), target.learnt(labels))


def num_trained(classifier: Classifier, unfreeze: Unfreeze) -> Mapping[str, int]:
    """Parameters of the stages that a choice stands for, a number a stage, the head last."""
    stages = chosen_stages(unfreeze, dict(classifier.backbone.stages.items()))
    modules = {stage: classifier.backbone.stages[stage] for stage in stages} | {"head": classifier.head}
    return {name: sum(one.numel() for one in module.parameters()) for name, module in modules.items()}


def labelled(
    pixels: NDArray[np.uint8],
    manifest: pd.DataFrame,
    split: str,
    column: str,
    balance: Balance = "none",
    *,
    learn_from: LearnFrom = "labels",
    label_names: Sequence[str] = (),
) -> Labelled:
    """The images of a split with the labels of a target's column; pixels are read when they are needed.

    What is only measured is weighted where what is learnt from is weighted or drawn evenly, and has its labels alone.

    Args:
        pixels: `(N, S, S, 3 or 1)` uint8.
        manifest: N rows.
        split: `train`, or one that is measured.
        column: Of the labels' numbers.
        balance: What is done about classes of unequal size.
        learn_from: What train learns.
        label_names: In the order of their numbers; needed where it is not the labels.

    Raises:
        ValueError: If probabilities are to be learnt and there are none.
    """
    rows = np.flatnonzero(manifest["split"] == split)
    labels = manifest[column].to_numpy(np.int64)[rows]
    images = RowsOf(pixels, rows)
    if split != "train":
        return Labelled(
            images, labels, learning_shares(labels, "none" if balance == "none" else "class_weights")
        )
    shares, learnt = learning_shares(labels, balance), manifest.iloc[rows]
    probabilities = learnt_probabilities(learnt, column, label_names, learn_from)
    return Labelled(
        images,
        labels,
        replace(shares, weights=shares.weights * given_weights(learnt)),
        None if probabilities is None else loss_targets(probabilities),
    )
