"""The candidates of `unfreeze: auto`: each is trained in parts, measured on `val` after each, and counts in a mean.

Knows how to train one and how to take the mean; which are tried for how long, and what each counts, is the search's.
"""

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.backbone import tensor_digest
from regraft.backbones.stage_choice import (
    LastStages,
    Unfreeze,
    candidates,
    chosen_stages,
    said_in_words,
    said_unfreeze,
)
from regraft.classifier.classifier import Classifier
from regraft.heads.several import AnyTarget
from regraft.save_points import SavePoints
from regraft.training.answer_scores import answer_costs, score_answers
from regraft.training.border import ArrayStore
from regraft.training.interpolation import add_moved
from regraft.training.measuring import predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.stage_training import Trained, examples, save_point_of, train_stages
from regraft.training.unfreeze_search import Trial, search_unfreeze

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings, Labelled

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Searched:
    """What a search has come to.

    Attributes:
        trained: The mean of the candidates that count, or the one that was taken. `best_epoch` and `history` are those
            of the candidate that counts most, of those that training changed.
        unfreeze: The stages that may differ from the start's, as a configuration would say it.
        rows: A row a trial; see `search_unfreeze`.
    """

    trained: Trained
    unfreeze: Unfreeze
    rows: list[dict[str, Any]]


def search_stages(
    start: Classifier,
    train: "Labelled",
    val: "Labelled",
    *,
    settings: "FineTuneSettings",
    compute: Compute,
    store: ArrayStore,
    save_points: SavePoints,
) -> Searched:
    """What `auto` gives with these images, this start and these settings.

    The save points keep candidates that were trained to the end; where they keep nothing, those that count are trained
    again. A mean that is worse on `val` than every candidate in it, since they lie in different valleys, is not taken;
    one candidate is.

    Source:
        Means of weights of models fine-tuned from one start: Wortsman et al. 2022, arXiv:2203.05482.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for kept in (tensor_digest(start).encode(), train.labels.tobytes(), val.labels.tobytes()):
        digest.update(kept)
    ready = _StageCandidates(start, train, val, settings, compute, store, save_points)
    found = search_unfreeze(
        candidates(dict(start.backbone.stages.items())),
        ready,
        max_epochs=settings.max_epochs,
        updates_an_epoch=-(-len(train.labels) // settings.batch_size),
        settings=settings.search,
        save_points=save_points,
        key=digest.hexdigest(),
    )
    if len(found.weights) == 1:
        [(unfreeze, _)] = found.weights
        return Searched(ready.trained(unfreeze), unfreeze, found.rows)
    mean = ready.mean(found.weights)
    if mean.cost <= found.highest_cost:
        return Searched(mean.trained, mean.unfreeze, found.rows)
    name = said_in_words(found.unfreeze)
    _logger.warning("the mean of the candidates is worse on val than each of them; %s is taken", name)
    rows = [{**row, "weight": float(row["is_final"] and row["candidate"] == name)} for row in found.rows]
    return Searched(ready.trained(found.unfreeze), found.unfreeze, rows)


@dataclass(frozen=True)
class _Mean:
    """A mean of candidates, as `Searched` has it, and what an image of `val` costs in the mean with it."""

    trained: Trained
    unfreeze: Unfreeze
    cost: float


@dataclass(frozen=True)
class _StageCandidates:
    """Stages of one start, trained with the same images and settings."""

    start: Classifier
    images: "Labelled"
    val: "Labelled"
    settings: "FineTuneSettings"
    compute: Compute
    store: ArrayStore
    save_points: SavePoints

    def train(self, unfreeze: Unfreeze, until: int) -> Trial:
        """See `Candidates.train`."""
        trained = self.trained(unfreeze, until=until, trial=said_in_words(unfreeze))
        stages = chosen_stages(unfreeze, dict(self.start.backbone.stages.items()))
        counted = self._predicted(trained.classifier, stages)
        costs = answer_costs(*counted, metric=self.settings.selection_metric)
        return Trial(
            unfreeze=said_unfreeze(unfreeze),
            stages=stages,
            epochs=until,
            best_epoch=trained.best_epoch,
            costs=tuple(costs.tolist()),
            val_log_loss=trained.val["val_log_loss"],
            val_calibrated_log_loss=trained.val["val_calibrated_log_loss"],
            val_accuracy=trained.val.get("val_accuracy"),
        )

    def drop(self, unfreeze: Unfreeze) -> None:
        """See `Candidates.drop`."""
        self.save_points.forget(save_point_of(unfreeze))

    def mean(self, weights: Sequence[tuple[Unfreeze, float]]) -> _Mean:
        """Of several that were trained to the end, by their weights."""
        stages = dict(self.start.backbone.stages.items())
        mean, moved = copy.deepcopy(self.start).to(self.compute.device), set[str]()
        heaviest: Trained | None = None
        for unfreeze, weight in sorted(weights, key=lambda one: -one[1]):
            trained = self.trained(unfreeze)
            if trained.best_epoch > 0:
                heaviest = heaviest or trained
                moved |= {"head", *chosen_stages(unfreeze, stages)}
                add_moved(mean, self.start, trained.classifier, weight)
        between = tuple(stage for stage in stages if stage in moved)
        counted = self._predicted(mean, between)
        return _Mean(
            replace(heaviest or self.trained("none"), classifier=mean, val=score_answers(*counted)),
            between or (LastStages(0) if moved else "none"),
            float(answer_costs(*counted, metric=self.settings.selection_metric).mean()),
        )

    def trained(self, unfreeze: Unfreeze, *, until: int | None = None, trial: str | None = None) -> Trained:
        """One, as `train_stages` gives it; to the end, it is what naming it gives."""
        return train_stages(
            self.start,
            self.images,
            self.val,
            settings=replace(self.settings, unfreeze=unfreeze),
            compute=self.compute,
            store=self.store,
            save_points=self.save_points,
            until=until,
            trial=trial,
        )

    def _predicted(
        self, classifier: Classifier, stages: Sequence[str]
    ) -> tuple[AnyTarget, NDArray[np.float64], NDArray[Any], NDArray[np.float64]]:
        """Its target, what it says of `val` `(N, K)`, the labels and what each counts; all but these stages is the
        start's."""
        first, settings = next(iter(stages), None), self.settings
        seen = examples(
            self.start, first, self.val, "identity", settings, compute=self.compute, store=self.store
        )
        probabilities = predict_examples(
            classifier,
            first,
            seen.inputs,
            len(self.val.labels),
            batch_size=settings.micro_batch_size,
            compute=self.compute,
        )
        return classifier.target, probabilities, seen.labels, seen.shares.weights
