"""The candidates of `unfreeze: auto`: each is trained in parts and measured on `val` after each.

Knows how to train one; which are tried for how long, and which wins, is the search's.
"""

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from regraft.backbones.backbone import tensor_digest
from regraft.backbones.stage_choice import (
    Unfreeze,
    candidates,
    chosen_stages,
    said_in_words,
    said_unfreeze,
)
from regraft.classifier.classifier import Classifier
from regraft.save_points import SavePoints
from regraft.training.border import ArrayStore
from regraft.training.measuring import predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.scoring import image_costs
from regraft.training.stage_training import examples, save_point_of, train_stages
from regraft.training.unfreeze_search import Found, Trial, search_unfreeze

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings, Labelled


def search_stages(
    start: Classifier,
    train: "Labelled",
    val: "Labelled",
    *,
    settings: "FineTuneSettings",
    compute: Compute,
    store: ArrayStore,
    save_points: SavePoints,
) -> Found:
    """What `auto` stands for with these images, this start and these settings; see `search_unfreeze`.

    The save points keep what was chosen, trained to the end; where they keep nothing, each part is trained from the
    beginning again.
    """
    digest = hashlib.sha256(repr(settings).encode())
    for kept in (tensor_digest(start).encode(), train.labels.tobytes(), val.labels.tobytes()):
        digest.update(kept)
    return search_unfreeze(
        candidates(dict(start.backbone.stages.items())),
        _StageCandidates(start, train, val, settings, compute, store, save_points),
        max_epochs=settings.max_epochs,
        updates_an_epoch=-(-len(train.labels) // settings.batch_size),
        settings=settings.search,
        save_points=save_points,
        key=digest.hexdigest(),
    )


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
        settings = replace(self.settings, unfreeze=unfreeze)
        trained = train_stages(
            self.start,
            self.images,
            self.val,
            settings=settings,
            compute=self.compute,
            store=self.store,
            save_points=self.save_points,
            until=until,
            trial=said_in_words(unfreeze),
        )
        stages = chosen_stages(unfreeze, dict(self.start.backbone.stages.items()))
        first = stages[0] if stages else None
        seen = examples(
            self.start, first, self.val, "identity", settings, compute=self.compute, store=self.store
        )
        probabilities = predict_examples(
            trained.classifier,
            first,
            seen.inputs,
            len(self.val.labels),
            batch_size=settings.micro_batch_size,
            compute=self.compute,
        )
        row = trained.history[trained.best_epoch]
        costs = image_costs(probabilities, seen.labels, seen.shares.weights, metric=settings.selection_metric)
        return Trial(
            unfreeze=said_unfreeze(unfreeze),
            stages=stages,
            epochs=until,
            best_epoch=trained.best_epoch,
            val_log_loss=row["val_log_loss"],
            val_calibrated_log_loss=row["val_calibrated_log_loss"],
            val_accuracy=row["val_accuracy"],
            costs=tuple(costs.tolist()),
        )

    def drop(self, unfreeze: Unfreeze) -> None:
        """See `Candidates.drop`."""
        self.save_points.forget(save_point_of(unfreeze))
