"""Nodes of the step `train_head`: a new head on frozen features.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.train_head import TrainHeadOptions


def train_head(
    features: Any,
    backbone: Any,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    options: TrainHeadOptions,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The head that sits on the backbone's cut, how it was found, and what is done about uneven classes."""
    from regraft.training.balanced_head import fit_balanced_head

    return fit_balanced_head(
        features,
        backbone,
        manifest,
        label_names,
        layers=options.head.layers(),
        settings=options.head.settings(),
        balance=options.balance,
        learn_from=options.learn_from,
    )
