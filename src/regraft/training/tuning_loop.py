"""The loop of fine-tuning: epochs of updates, `val` measured after each, the best epoch's weights put back.

Knows border activations and labels, nothing of where they come from. What it has done so far can be kept at any update
and gone on from: the end is the same to the bit.
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.classifier.classifier import Classifier
from regraft.heads.several import labels_in
from regraft.messages import report_metrics, report_progress
from regraft.save_points import SavePoints
from regraft.training.answer_scores import score_answers
from regraft.training.balance import Shares, draw_order
from regraft.training.batch_norm import AdaptingNorms, Observed
from regraft.training.border import BorderInputs
from regraft.training.folding import HeldWeights, added
from regraft.training.measuring import logits_after, predict_examples
from regraft.training.mixed import mix_precision
from regraft.training.optimiser import build_optimiser, set_learning_rates
from regraft.training.reproducibility import Compute, map_streams, numpy_generator
from regraft.training.scoring import cost_of

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings

Ints = NDArray[np.int64]
_TRIED_IMAGES = 4  # norms that adapt need several


@dataclass(frozen=True)
class Examples:
    """What the first trained stage sees of the images of a split, their labels `(N,)` (of several targets `(N, L)`),
    what each counts, and what is learnt of it, as the target's loss takes it."""

    inputs: BorderInputs
    labels: NDArray[Any]
    shares: Shares
    targets: NDArray[Any]


@dataclass
class _State:
    """How far training has come, beside weights and optimiser.

    Attributes:
        epoch: The epoch under way; 0 measures the probe.
        num_updates: Updates done in it.
        total_loss: Summed over the images of these.
        history: A row an epoch done.
        best_epoch: Of these, with `least_cost` and the weights `best`.
    """

    epoch: int = 0
    num_updates: int = 0
    total_loss: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    least_cost: float = np.inf
    best: list[Tensor] = field(default_factory=list)


class TuningLoop:
    """Trains some stages and the head of a classifier.

    Args:
        classifier: Its trained parameters ask for gradients; they are changed.
        stages: Its stages that are trained, in depth order; gradients pass through what is frozen above the first.
        settings: See there.
        compute: Device, precision, streams.
        save_points: Where what was done so far is kept.
        save_as: Under which name.
        trial: What this is a trial of; None: of nothing, its metrics are those of the run.
    """

    def __init__(
        self,
        classifier: Classifier,
        stages: Sequence[str],
        settings: "FineTuneSettings",
        *,
        compute: Compute,
        save_points: SavePoints,
        save_as: str,
        trial: str | None = None,
    ) -> None:
        self._classifier = classifier
        self._first_stage = stages[0] if stages else None
        self._settings = settings
        self._compute = compute
        self._save_points, self._save_as = save_points, save_as
        trained = [*(classifier.backbone.stages[stage] for stage in stages), classifier.head]
        parameters = [parameter for module in trained for parameter in module.parameters()]
        self._parameters: list[Tensor] = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in self._parameters:  # some files hold them transposed, which each update would pay for
            parameter.data = parameter.data.contiguous()
        self._optimiser = build_optimiser(trained, settings.optimiser)
        self._norms = AdaptingNorms(classifier.backbone, stages if settings.batch_norm == "adapt" else ())
        self._moving = [*self._parameters, *self._norms.statistics]
        self._means = [tensor.detach().clone() for tensor in self._moving]
        self._trial = trial
        self._task = "fine-tuning" if trial is None else f"trying unfreeze: {trial}"
        self._state = _State()

    def run(
        self, train: Examples, val: Examples, *, until: int | None = None
    ) -> tuple[int, list[dict[str, float]]]:
        """Train; the classifier has the best epoch's weights in the end.

        Args:
            train: Learnt from.
            val: Measured after each epoch.
            until: The epoch after which to stop for now, with a save point; None: all of them.

        Returns:
            The best epoch, 0 being the probe, and a row an epoch.
        """
        tried = np.arange(min(_TRIED_IMAGES if self._norms.statistics else 1, len(train.labels)))
        border = train.inputs.batch(tried, np.zeros_like(tried))
        bare = self._norms.without_statistics(self._classifier.backbone)
        learning = HeldWeights(
            mix_precision(bare, self._first_stage, border, dtype=self._compute.fast_dtype), self._parameters
        )
        measured = HeldWeights(self._folded_for_measuring(border), ())
        key = self._key(train, val)
        state = self._state = self._restored(key) or _State()
        last_epoch = self._settings.max_epochs if until is None else until
        while self._goes_on(last_epoch):
            row: dict[str, float] = {"epoch": state.epoch}
            if state.epoch:
                row |= self._train_epoch(learning, train, key)
            row |= self._measure(measured, val)
            if self._trial is None:
                _report(row)
            self._finish_epoch(row)
            is_left = until is not None and not self._goes_on(last_epoch)
            if is_left or self._save_points.is_due():
                self._save(key)
        self._put_back(state.best)
        return state.best_epoch, state.history

    def _goes_on(self, last_epoch: int) -> bool:
        state = self._state
        return state.epoch <= last_epoch and state.epoch - 1 - state.best_epoch < self._settings.patience

    def _finish_epoch(self, row: dict[str, float]) -> None:
        state = self._state
        state.history.append(row)
        cost = cost_of(row, self._settings.selection_metric)
        if cost < state.least_cost:
            state.best_epoch, state.least_cost = state.epoch, cost
            state.best = [mean.clone() for mean in self._means]
        state.epoch, state.num_updates, state.total_loss = state.epoch + 1, 0, 0.0

    def _train_epoch(self, learning: HeldWeights, train: Examples, key: str) -> dict[str, float]:
        state, size = self._state, self._settings.batch_size
        num_images = len(train.labels)
        # From seed and epoch alone: a process that goes on in the middle draws the same.
        generator = numpy_generator(self._settings.seed, "fine_tune", state.epoch)
        order = draw_order(train.shares.draws, generator)
        views = generator.integers(train.inputs.num_views, size=num_images)
        num_updates = -(-num_images // size)
        while state.num_updates < num_updates:
            rows = order[state.num_updates * size : (state.num_updates + 1) * size]
            set_learning_rates(
                self._optimiser,
                (state.epoch - 1) * num_updates + state.num_updates,
                self._settings.max_epochs * num_updates,
                warmup_fraction=self._settings.optimiser.warmup_fraction,
            )
            state.total_loss += self._update(learning, train, rows, views[rows]) * len(rows)
            state.num_updates += 1
            report_progress(
                f"{self._task}, epoch {state.epoch} of {self._settings.max_epochs}",
                state.num_updates,
                num_updates,
            )
            if state.num_updates < num_updates and self._save_points.is_due():
                self._save(key)
        return {
            "train_loss": state.total_loss / num_images,
            "learning_rate": self._optimiser.param_groups[0]["lr"],
        }

    def _update(self, learning: HeldWeights, train: Examples, rows: Ints, views: Ints) -> float:
        size = self._settings.micro_batch_size

        def gradients_of(start: int) -> tuple[float, list[Tensor], Observed]:
            part = slice(start, start + size)
            with self._norms.observing(len(rows[part])) as observed:
                logits = logits_after(
                    self._classifier,
                    learning.network,
                    self._first_stage,
                    train.inputs,
                    rows[part],
                    views[part],
                )
            shown = train.inputs.shown(rows[part], views[part]).tolist()
            targets = labels_in(
                self._classifier.target,
                torch.as_tensor(train.targets[rows[part]], device=logits.device),
                shown,
            )
            weights = torch.as_tensor(
                train.shares.weights[rows[part]], dtype=logits.dtype, device=logits.device
            )
            loss = self._classifier.target.loss(
                logits, targets, label_smoothing=self._settings.label_smoothing, weights=weights
            )
            loss = loss * len(targets) / len(rows)
            return loss.item(), learning.gradients(loss), observed

        loss, sums, seen = 0.0, list[Tensor](), list[Observed]()
        starts = range(0, len(rows), size)
        with learning.held():
            for part_loss, part, observed in map_streams(gradients_of, starts, compute=self._compute):
                loss += part_loss
                seen.append(observed)
                sums = added(sums, part)
        gradients = learning.through(sums)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        norm, longest = nn.utils.get_total_norm(gradients), self._settings.optimiser.max_gradient_norm
        if not norm <= longest:  # else they would be read and written to be multiplied by 1
            nn.utils.clip_grads_with_norm_(self._parameters, longest, norm)
        self._optimiser.step()
        with torch.no_grad():
            self._norms.move(seen)
            torch._foreach_lerp_(self._means, self._moving, 1 - self._settings.averaging)
        return loss

    def _folded_for_measuring(self, border: Tensor) -> Backbone:
        """The same function in float32, as cheap as it can be; as it is where norms move."""
        plain = self._classifier.backbone
        if self._norms.statistics:
            return plain
        return mix_precision(plain, self._first_stage, border, dtype=torch.float32)

    def _measure(self, measured: HeldWeights, val: Examples) -> dict[str, float]:
        """The scores of the weights that would be handed back, each image as it is."""
        training_weights = [tensor.detach().clone() for tensor in self._moving]
        self._put_back(self._means)
        with torch.no_grad(), measured.held():
            answers = predict_examples(
                self._classifier,
                self._first_stage,
                val.inputs,
                len(val.labels),
                batch_size=self._settings.micro_batch_size,
                compute=self._compute,
                backbone=measured.network,
            )
        self._put_back(training_weights)
        return score_answers(self._classifier.target, answers, val.labels, val.shares.weights)

    def _put_back(self, weights: list[Tensor]) -> None:
        with torch.no_grad():
            for moving, kept in zip(self._moving, weights, strict=True):
                moving.copy_(kept)

    def _key(self, train: Examples, val: Examples) -> str:
        """What a save point must have been made of, to be gone on from."""
        digest = hashlib.sha256(repr(self._settings).encode())
        digest.update(tensor_digest(self._classifier).encode())
        for split in (train, val):
            for array in (split.labels, split.targets, split.shares.weights, split.shares.draws):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def _save(self, key: str) -> None:
        """Keep all that the rest of training follows from; random numbers follow from the seed."""
        buffer = io.BytesIO()
        weights = [tensor.detach() for tensor in self._moving]
        state = {
            "key": key,
            "state": vars(self._state),
            "weights": weights,
            "mean_weights": self._means,
            "optimiser": self._optimiser.state_dict(),
        }
        torch.save(state, buffer)
        self._save_points.write(self._save_as, buffer.getvalue())

    def _restored(self, key: str) -> _State | None:
        data = self._save_points.read(self._save_as)
        if data is None:
            return None
        saved: dict[str, Any] = torch.load(
            io.BytesIO(data), weights_only=True, map_location=self._compute.device
        )
        if saved["key"] != key:
            return None
        self._put_back(saved["weights"])
        for mean, kept in zip(self._means, saved["mean_weights"], strict=True):
            mean.copy_(kept)
        self._optimiser.load_state_dict(saved["optimiser"])
        return _State(**saved["state"])


def measure_alone(
    classifier: Classifier, val: Examples, settings: "FineTuneSettings", *, compute: Compute
) -> dict[str, float]:
    """The row of epoch 0, where nothing is trained: the probe on `val`, from what its head takes."""
    answers = predict_examples(
        classifier, None, val.inputs, len(val.labels), batch_size=settings.micro_batch_size, compute=compute
    )
    row = {"epoch": 0, **score_answers(classifier.target, answers, val.labels, val.shares.weights)}
    _report(row)
    return row


def _report(row: dict[str, float]) -> None:
    metrics = {f"fine_tune/{name}": value for name, value in row.items() if name != "epoch"}
    report_metrics(metrics, step=int(row["epoch"]))
