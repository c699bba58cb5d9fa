"""Nodes of the pipeline `sweep`: settings tried one after another, and their picture.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.sweep import SweepOptions
from regraft.options.train_head import TrainHeadOptions


def try_settings(
    backbone: Any,
    features: Any,
    pixels: Any,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    preprocessing: dict[str, Any],
    activations: Any,
    sweep_journals: Path,
    options: SweepOptions,
    train_head: TrainHeadOptions,
    fine_tune: FineTuneOptions,
    compute: ComputeOptions,
) -> tuple[dict[str, Any], pd.DataFrame, str]:
    """Every trial, the same as a plain table, and the best settings as a file of parameters."""
    from functools import partial

    from regraft.comparing.sweep import Setting, best_parameters, sweep
    from regraft.comparing.trials import TrialBench, try_setting
    from regraft.images.preprocessing import Preprocessing
    from regraft.training.reproducibility import reproducible

    resolved = compute.resolve()
    bench = TrialBench(
        backbone,
        features,
        pixels,
        manifest,
        label_names,
        Preprocessing.model_validate(preprocessing),
        heads={kind: train_head.recipe(kind) for kind in options.heads},
        fine_tune=fine_tune.settings(),
        activations=activations,
        compute=resolved,
    )
    with reproducible(resolved):
        found = sweep(
            partial(try_setting, bench=bench),
            options.space(),
            Setting(fine_tune.learning_rate, fine_tune.weight_decay, train_head.head.kind, fine_tune.views),
            identity=bench.identity(),
            folder=sweep_journals,
            objective=options.objective,
            max_trials=options.max_trials,
            max_seconds=60 * options.max_minutes,
            seed=options.seed,
        )
    return found, pd.DataFrame(found["trials"]), best_parameters(found)


def draw_sweep(sweep_trials: dict[str, Any]) -> Any:
    """What each setting has to do with the objective."""
    from regraft.comparing.sweep_figure import sweep_figure

    return sweep_figure(sweep_trials)
