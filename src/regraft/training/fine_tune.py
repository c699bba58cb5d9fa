"""Fine-tuning: the last stages and the head, at a low rate, from the probe; the best epoch on `val` comes back.

Knows neither files nor trackers: border activations come from a store, metrics leave as log records.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone
from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet, num_views
from regraft.messages import report_metrics, report_progress
from regraft.training.border import ArrayStore, BorderInputs, border_inputs
from regraft.training.mixed import mix_precision
from regraft.training.optimiser import OptimiserSettings, build_optimiser, set_learning_rates
from regraft.training.reproducibility import Compute, map_streams, numpy_generator

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
    """

    pixels: NDArray[np.uint8]
    labels: Ints


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
            _freeze_depthwise(module)
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
    loop = _Loop(classifier, trained, stages[split_at] if settings.num_stages else None, settings, compute)
    return loop.run(inputs["train"], train.labels, inputs["val"], val.labels)


class _Loop:
    def __init__(
        self,
        classifier: Classifier,
        trained: list[nn.Module],
        first_stage: str | None,
        settings: FineTuneSettings,
        compute: Compute,
    ) -> None:
        self.classifier = classifier
        self.first_stage = first_stage
        self.settings = settings
        self.compute = compute
        parameters = [parameter for module in trained for parameter in module.parameters()]
        self.parameters: list[Tensor] = [parameter for parameter in parameters if parameter.requires_grad]
        self.optimiser = build_optimiser(trained, settings.optimiser)
        self.mean_parameters = [parameter.detach().clone() for parameter in self.parameters]

    def run(
        self, inputs: BorderInputs, labels: Ints, val_inputs: BorderInputs, val_labels: Ints
    ) -> FineTuned:
        first_batch = inputs.batch(np.zeros(1, np.int64), np.zeros(1, np.int64))
        self.mixed = mix_precision(
            self.classifier.backbone, self.first_stage, first_batch, dtype=self.compute.fast_dtype
        )
        history: list[dict[str, float]] = []
        best_epoch, best_score, best = 0, -np.inf, self._weights_to_keep()
        for epoch in range(self.settings.max_epochs + 1):
            row: dict[str, float] = {"epoch": epoch}
            if epoch:
                row |= self._train_epoch(epoch, inputs, labels)
            row |= self._measure(val_inputs, val_labels)
            history.append(row)
            report_metrics(
                {f"fine_tune/{name}": value for name, value in row.items() if name != "epoch"}, step=epoch
            )
            score = (
                row["val_accuracy"] if self.settings.selection_metric == "accuracy" else -row["val_log_loss"]
            )
            if score > best_score:
                best_epoch, best_score, best = epoch, score, self._weights_to_keep()
            if epoch - best_epoch >= self.settings.patience:
                break
        self._put_back(best)
        self.classifier.requires_grad_(False)
        return FineTuned(self.classifier.cpu(), best_epoch, history)

    def _train_epoch(self, epoch: int, inputs: BorderInputs, labels: Ints) -> dict[str, float]:
        size = self.settings.batch_size
        generator = numpy_generator(self.settings.seed, "fine_tune", epoch)
        order = generator.permutation(len(labels))
        views = generator.integers(num_views(self.settings.views), size=len(labels))
        starts = range(0, len(labels), size)
        total = 0.0
        for index, start in enumerate(starts):
            rows = order[start : start + size]
            set_learning_rates(
                self.optimiser,
                (epoch - 1) * len(starts) + index,
                self.settings.max_epochs * len(starts),
                warmup_fraction=self.settings.optimiser.warmup_fraction,
            )
            total += self._update(inputs, rows, views[rows], labels[rows]) * len(rows)
            report_progress(
                f"fine-tuning, epoch {epoch} of {self.settings.max_epochs}", index + 1, len(starts)
            )
        return {"train_loss": total / len(labels), "learning_rate": self.optimiser.param_groups[0]["lr"]}

    def _update(self, inputs: BorderInputs, rows: Ints, views: Ints, labels: Ints) -> float:
        size = self.settings.micro_batch_size

        def gradients_of(start: int) -> tuple[float, tuple[Tensor, ...]]:
            part = slice(start, start + size)
            logits = self._logits(self.mixed, inputs.batch(rows[part], views[part]))
            targets = torch.as_tensor(labels[part], device=logits.device)
            smoothing = self.settings.label_smoothing
            loss = (
                self.classifier.target.loss(logits, targets, label_smoothing=smoothing)
                * len(targets)
                / len(rows)
            )
            return loss.item(), torch.autograd.grad(loss, self.parameters)

        loss, gradients = 0.0, list[Tensor]()
        for part_loss, part in map_streams(gradients_of, range(0, len(rows), size), compute=self.compute):
            loss += part_loss
            if gradients:
                torch._foreach_add_(gradients, part)
            else:
                gradients = list(part)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(self.parameters, self.settings.optimiser.max_gradient_norm)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.mean_parameters, self.parameters, 1 - self.settings.averaging)
        return loss

    def _measure(self, inputs: BorderInputs, labels: Ints) -> dict[str, float]:
        """Log-loss and accuracy under the weights that would be handed back, each image as it is."""
        training_weights = [parameter.detach().clone() for parameter in self.parameters]
        self._put_back(self._weights_to_keep())

        def probabilities_of(start: int) -> Tensor:
            with torch.no_grad():
                rows = np.arange(start, min(start + self.settings.micro_batch_size, len(labels)))
                return self.classifier.target.probabilities(
                    self._logits(self.classifier.backbone, inputs.batch(rows, np.zeros_like(rows)))
                ).cpu()

        starts = range(0, len(labels), self.settings.micro_batch_size)
        probabilities = torch.cat(list(map_streams(probabilities_of, starts, compute=self.compute))).numpy()
        self._put_back(training_weights)
        of_label = probabilities[np.arange(len(labels)), labels]
        return {
            "val_log_loss": float(-np.log(np.clip(of_label, 1e-15, 1)).mean()),
            "val_accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        }

    def _logits(self, backbone: Backbone, border: Tensor) -> Tensor:
        activations = backbone.forward_range(border, self.first_stage, None) if self.first_stage else border
        logits: Tensor = self.classifier.head(backbone.pool(activations.float()))
        return logits

    def _weights_to_keep(self) -> list[Tensor]:
        return [mean.clone() for mean in self.mean_parameters]

    def _put_back(self, weights: list[Tensor]) -> None:
        with torch.no_grad():
            for parameter, kept in zip(self.parameters, weights, strict=True):
                parameter.copy_(kept)


def _freeze_depthwise(module: nn.Module) -> None:
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


def labelled(pixels: NDArray[np.uint8], manifest: pd.DataFrame, split: str, column: str) -> Labelled:
    """The images of a split with the labels of a target's column; pixels are copied into memory."""
    rows = np.flatnonzero(manifest["split"] == split)
    return Labelled(np.ascontiguousarray(pixels[rows]), manifest[column].to_numpy(np.int64)[rows])
