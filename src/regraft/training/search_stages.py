"""The trials of `unfreeze: auto`: each candidate trained for a few epochs and measured on `val`.

Knows how to train one; which are tried for how long, and which wins, is the search's.
"""

import hashlib
from dataclasses import replace
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
from regraft.save_points import NoSavePoints, SavePoints
from regraft.training.border import ArrayStore
from regraft.training.measuring import image_costs, predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.stage_training import examples, leave_untrained, train_stages
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
    """What `auto` stands for with these images, this start and these settings; see `search_unfreeze`."""
    stages_by_name = dict(start.backbone.stages.items())

    def trial(unfreeze: Unfreeze, epochs: int) -> Trial:
        stages = chosen_stages(unfreeze, stages_by_name)
        # The running mean of weights spans the same part of a short training as of the full one; else a short one
        # would hand back little but the start.
        averaging = settings.averaging ** (settings.max_epochs / max(1, epochs))
        short = replace(settings, unfreeze=unfreeze, max_epochs=epochs, averaging=averaging)
        if unfreeze == "none":
            trained = leave_untrained(start, val, settings=short, compute=compute, store=store)
        else:
            trained = train_stages(
                start,
                stages,
                train,
                val,
                settings=short,
                compute=compute,
                store=store,
                save_points=NoSavePoints(),
                trial=said_in_words(unfreeze),
            )
        first = stages[0] if stages else None
        seen = examples(start, first, val, "identity", settings, compute=compute, store=store)
        probabilities = predict_examples(
            trained.classifier,
            first,
            seen.inputs,
            len(val.labels),
            batch_size=settings.micro_batch_size,
            compute=compute,
        )
        row = trained.history[trained.best_epoch]
        costs = (
            image_costs(probabilities, seen.labels, metric=settings.selection_metric) * seen.shares.weights
        )
        return Trial(
            unfreeze=said_unfreeze(unfreeze),
            stages=stages,
            epochs=epochs,
            best_epoch=trained.best_epoch,
            val_log_loss=row["val_log_loss"],
            val_accuracy=row["val_accuracy"],
            costs=tuple(costs.tolist()),
        )

    digest = hashlib.sha256(repr(settings).encode())
    for kept in (tensor_digest(start).encode(), train.labels.tobytes(), val.labels.tobytes()):
        digest.update(kept)
    return search_unfreeze(
        candidates(stages_by_name),
        trial,
        max_epochs=settings.max_epochs,
        updates_an_epoch=-(-len(train.labels) // settings.batch_size),
        settings=settings.search,
        save_points=save_points,
        key=digest.hexdigest(),
    )
