"""Nodes of the step `probe`: what each depth of the backbone says of the labels.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.probe import ProbeOptions


def probe_depths(
    features: Any,
    backbone: dict[str, Any],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    options: ProbeOptions,
) -> dict[str, Any]:
    """Every depth with its intervals, the differences, and the depth that follows."""
    from regraft.evaluation.depths import score_depths
    from regraft.evaluation.intervals import Bootstrap
    from regraft.evaluation.several.depths import score_several_depths

    bootstrap = Bootstrap(options.num_resamples, options.confidence, options.seed)
    given: dict[str, Any] = {"settings": options.settings(), "bootstrap": bootstrap}
    if targets:
        return score_several_depths(features, backbone["feature_dims"], manifest, targets, **given)
    return score_depths(
        features, backbone["feature_dims"], manifest, label_names, metric=options.selection_metric, **given
    )


def draw_depths(depth_scores: dict[str, Any], backbone_name: str) -> tuple[Any, str]:
    """The figure and the page."""
    from regraft.evaluation.depth_figure import depth_figure
    from regraft.evaluation.depth_report import render_depths

    figure = depth_figure(depth_scores)
    return figure, render_depths(depth_scores, figure, title=f"{backbone_name}: how deep to cut")
