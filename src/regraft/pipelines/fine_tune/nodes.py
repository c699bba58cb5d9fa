"""Nodes of the step `fine_tune`: some stages trained gently, from the probe.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.train_head import TrainHeadOptions


def fine_tune(
    backbone: Any,
    head: Any,
    pixels: Any,
    manifest: pd.DataFrame,
    targets: list[dict[str, Any]],
    balance: dict[str, Any],
    preprocessing: dict[str, Any],
    activations: Any,
    fine_tune_save_points: Any,
    options: FineTuneOptions,
    train_head: TrainHeadOptions,
    compute: ComputeOptions,
) -> tuple[Any, dict[str, Any], list[dict[str, Any]]]:
    """The classifier of the best epoch, every epoch's losses, and what moved."""
    from regraft.backbones.stage_choice import said_unfreeze
    from regraft.classifier import assemble
    from regraft.images.preprocessing import Preprocessing
    from regraft.training.fine_tune import fine_tune, labelled, labelled_several
    from regraft.training.reproducibility import reproducible

    probe = assemble(backbone, head, Preprocessing.model_validate(preprocessing), views=options.predict_views)
    resolved = compute.resolve()
    with reproducible(resolved):
        result = fine_tune(
            probe,
            *(
                labelled_several(pixels, manifest, split, targets, head.target)
                if targets
                else labelled(
                    pixels,
                    manifest,
                    split,
                    head.target.column,
                    balance["chosen"],
                    learn_from=train_head.learn_from,
                    label_names=head.target.answer_names,
                )
                for split in ("train", "val")
            ),
            settings=options.settings(),
            compute=resolved,
            store=activations,
            save_points=fine_tune_save_points,
        )
    history = {
        "unfreeze": said_unfreeze(result.unfreeze),
        "best_epoch": result.best_epoch,
        "rows": result.history,
        "val": result.val,
        "search": result.search,
        "interpolation": {"coefficient": result.coefficient, "rows": result.interpolation},
        **({"temperatures": dict(result.temperatures)} if targets else {"temperature": result.temperature}),
    }
    return result.classifier, history, result.receipt
