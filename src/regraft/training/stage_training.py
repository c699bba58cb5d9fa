"""One fine-tuning of given stages: border inputs, the loop, and what the best epoch says of `val`.

Knows which stages are trained, not how they were chosen.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from regraft.backbones.stage_choice import Unfreeze, chosen_stages, said_in_words
from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet
from regraft.save_points import SavePoints
from regraft.training.balance import learning_shares
from regraft.training.border import ArrayStore, border_inputs
from regraft.training.reproducibility import Compute
from regraft.training.scoring import scores_of
from regraft.training.tuning_loop import Examples, TuningLoop, measure_alone

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings, Labelled


def save_point_of(unfreeze: Unfreeze) -> str:
    """Under which name a choice of stages keeps how far its training has come; a file can have it."""
    return "training" if isinstance(unfreeze, tuple) else f"training {said_in_words(unfreeze)}"


@dataclass(frozen=True)
class Trained:
    """What a training has come to.

    Attributes:
        classifier: That of the best epoch, on the computing device.
        best_epoch: 0 is the start.
        history: A row an epoch.
        val: The scores of the classifier; see `score`.
    """

    classifier: Classifier
    best_epoch: int
    history: list[dict[str, float]]
    val: dict[str, float]


def train_stages(
    start: Classifier,
    train: "Labelled",
    val: "Labelled",
    *,
    settings: "FineTuneSettings",
    compute: Compute,
    store: ArrayStore,
    save_points: SavePoints,
    until: int | None = None,
    trial: str | None = None,
) -> Trained:
    """Train the stages of `settings.unfreeze`, no search any more, and the head from where a classifier stands.

    Args:
        start: Not changed.
        train: Learnt from.
        val: Measured after each epoch.
        settings: See there.
        compute: Device, precision, streams.
        store: Keeps border activations.
        save_points: Training goes on from what they keep of this choice; see `save_point_of`.
        until: The epoch after which to stop for now, so that it can go on later; None: all of them.
        trial: What it is a trial of, for the line of progress; its metrics are not those of the run. None: it is the
            run.
    """
    if settings.unfreeze == "none":
        return _leave_untrained(start, val, settings=settings, compute=compute, store=store)
    stages = chosen_stages(
        settings.unfreeze, dict(start.backbone.stages.items()), network=start.backbone.spec.name
    )
    classifier = copy.deepcopy(start).to(compute.device)
    for module in (*(classifier.backbone.stages[stage] for stage in stages), classifier.head):
        module.requires_grad_(True)
        if settings.depthwise == "frozen":
            freeze_depthwise(module)
    first = stages[0] if stages else None
    loop = TuningLoop(
        classifier,
        stages,
        settings,
        compute=compute,
        save_points=save_points,
        save_as=save_point_of(settings.unfreeze),
        trial=trial,
    )
    best_epoch, history = loop.run(
        examples(start, first, train, settings.views, settings, compute=compute, store=store),
        examples(start, first, val, "identity", settings, compute=compute, store=store),
        until=until,
    )
    return Trained(classifier.requires_grad_(False), best_epoch, history, scores_of(history[best_epoch]))


def _leave_untrained(
    start: Classifier, val: "Labelled", *, settings: "FineTuneSettings", compute: Compute, store: ArrayStore
) -> Trained:
    """A copy of the classifier, measured on `val`."""
    inputs = examples(start, None, val, "identity", settings, compute=compute, store=store)
    classifier = copy.deepcopy(start).to(compute.device)
    row = measure_alone(classifier, inputs, settings, compute=compute)
    return Trained(classifier, 0, [row], scores_of(row))


def examples(
    start: Classifier,
    first_stage: str | None,
    split: "Labelled",
    views: ViewSet,
    settings: "FineTuneSettings",
    *,
    compute: Compute,
    store: ArrayStore,
) -> Examples:
    """A split as the first trained stage sees it; None: as the head does."""
    stages = list(start.backbone.stages)
    num_frozen = len(stages) if first_stage is None else stages.index(first_stage)
    inputs = border_inputs(
        start.backbone,
        stages[num_frozen - 1] if num_frozen else None,
        split.pixels,
        start.preprocessing,
        views=views,
        views_per_image=settings.views_per_image,
        seed=settings.seed,
        batch_size=settings.micro_batch_size,
        compute=compute,
        store=store,
        stages=start.stages,
    )
    shares = split.shares or learning_shares(split.labels, "none")
    return Examples(inputs, split.labels, shares, split.labels if split.targets is None else split.targets)


def freeze_depthwise(module: nn.Module) -> None:
    """No gradients for its depthwise convolutions and the norms behind them."""
    layers = list(module.modules())
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            layer.requires_grad_(False)
            if isinstance(following, nn.BatchNorm2d):
                following.requires_grad_(False)
