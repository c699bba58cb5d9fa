"""Nodes of the step `train_head`: a new head on frozen features.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.build_backbone import AUTO_CUT, BuildBackboneOptions
from regraft.options.probe import ProbeOptions
from regraft.options.train_head import TrainHeadOptions


def choose_stages(
    features: Any,
    backbone: dict[str, Any],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    backbone_options: BuildBackboneOptions,
    options: TrainHeadOptions,
    probe: ProbeOptions,
) -> dict[str, Any]:
    """Stages whose features the head sees; the last is the cut, by probes of every depth where that is asked for."""
    from regraft.backbones.stage_choice import choose_head_stages

    stages, reason, scores = list(backbone["feature_dims"]), None, None
    if backbone_options.cut == AUTO_CUT:
        from regraft.evaluation.depths import score_depths
        from regraft.evaluation.intervals import Bootstrap
        from regraft.evaluation.several.depths import score_several_depths

        bootstrap = Bootstrap(probe.num_resamples, probe.confidence, probe.seed)
        given: dict[str, Any] = {"settings": probe.settings(), "bootstrap": bootstrap}
        dims = backbone["feature_dims"]
        if targets:
            scores = score_several_depths(features, dims, manifest, targets, **given)
        else:
            scores = score_depths(
                features, dims, manifest, label_names, metric=probe.selection_metric, **given
            )
        choice = scores["choice"][options.features]
        stages, reason = stages[: stages.index(choice["stage"]) + 1], choice["reason"]
    return {
        "stages": list(choose_head_stages(options.features, stages)),
        "reason": reason,
        "depth_scores": scores,
    }


def train_head(
    features: Any,
    view_features: Any,
    backbone: dict[str, Any],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    head_stages: dict[str, Any],
    options: TrainHeadOptions,
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The head that sits on the stages chosen, how it was found, and what is done about uneven classes."""
    from regraft.training.balanced_head import fit_balanced_head
    from regraft.training.several_head import fit_several_head

    if targets:
        return fit_several_head(
            features,
            backbone["feature_dims"],
            manifest,
            targets,
            settings=options.solver_settings(),
            stages=head_stages["stages"],
            view_features=view_features,
        )
    return fit_balanced_head(
        features,
        backbone["feature_dims"],
        manifest,
        label_names,
        layers=options.head.layers(),
        settings=options.head.settings(),
        balance=options.balance,
        learn_from=options.learn_from,
        stages=head_stages["stages"],
        view_features=view_features,
        views_seen=options.views_seen,
    )
