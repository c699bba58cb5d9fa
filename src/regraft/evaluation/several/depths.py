"""Probes of every depth where several targets are learnt: each by the kind of its target, judged by one loss.

Looks at training images alone, each judged by a probe that had not learnt from its group; knows no network.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.depths import DepthValues, describe_depths
from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.several.scores import JOINT_LOSS
from regraft.training import ridge
from regraft.training.depth import at_every_depth, check_widths, depth_folds
from regraft.training.linear_probe import SolverSettings
from regraft.training.out_of_fold import predict_held_out
from regraft.training.several_head import strata_of
from regraft.training.target_answers import Floats, Target, headline_metric, headline_scores, true_by_target
from regraft.training.target_losses import error_unit, image_losses
from regraft.training.units import units_of


def score_several_depths(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    manifest: pd.DataFrame,
    targets: Sequence[Target],
    *,
    settings: SolverSettings,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """`score_depths` for several targets: logistic regressions for classes, ridge regressions for numbers and points.

    What decides is `joint_loss`, the sum over the targets of what an image costs in nats; the squared error of a number
    or of points that costs half a nat is the least of all depths.

    Args:
        features: See `score_depths`, and there for the others.
        targets: What there is to be learnt, as `describe_targets` describes it.

    Returns:
        As `score_depths`, with `metrics`: the names of what is measured, `joint_loss` and the headline metric of each
        target.
    """
    chosen = np.flatnonzero(manifest["split"] == "train")
    train = manifest.iloc[chosen]
    strata = strata_of(train, targets)
    check_widths(features, feature_dims)
    folds = depth_folds(strata, units_of(train), len(np.unique(strata)), settings)
    true = true_by_target(train, targets)

    def probe(some: NDArray[np.float32]) -> dict[str, Floats]:
        return {
            target["name"]: held_out_answers(some, true[target["name"]], target, folds, settings)
            for target in targets
        }

    probes = at_every_depth(np.ascontiguousarray(features[chosen]), feature_dims, probe)
    said = [of_depth for _, of_depth in probes]
    units = {
        target["name"]: min(error_unit(true[target["name"]], one[target["name"]]) for one in said)
        for target in targets
        if target["kind"] != "classes"
    }
    values = {JOINT_LOSS: np.stack([_joint(true, one, targets, units) for one in said], axis=1)}
    for target in targets:
        name = target["name"]
        shown = [headline_scores(true[name], one[name], target["kind"]) for one in said]
        values[headline_metric(target)] = np.stack(shown, axis=1)
    return describe_depths(
        DepthValues([depth for depth, _ in probes], values),
        groups=[None if pd.isna(group) else str(group) for group in train["group"]],
        bootstrap=bootstrap,
        metric=JOINT_LOSS,
        num_folds=settings.num_folds,
    ) | {"metrics": list(values)}


def held_out_answers(
    features: NDArray[np.float32],
    true: NDArray[Any],
    target: Target,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    settings: SolverSettings,
) -> Floats:
    """What is said of every image by a probe that has not learnt from it, as `SeveralScores.said` has it.

    Args:
        features: `(N, D)` float32.
        true: Of the target, as `SeveralScores.true` has it.
        target: As `describe_targets` describes it.
        folds: Rows to learn from and rows held out, a pair a fold; what no fold holds out is NaN.
        settings: Penalties for all; tolerance and iterations for classes.
    """
    if target["kind"] == "classes":
        num_classes = len(target["label_names"])
        found = predict_held_out(features, true, num_classes=num_classes, folds=folds, settings=settings)
        return found.probabilities
    said = ridge.predict_held_out(
        features, true.reshape(len(true), -1), folds=folds, penalties=settings.penalties
    )
    return said.reshape(true.shape)


def _joint(
    true: Mapping[str, NDArray[Any]],
    said: Mapping[str, Floats],
    targets: Sequence[Target],
    units: Mapping[str, float],
) -> Floats:
    total: Floats = np.sum(list(image_losses(true, said, targets, units).values()), axis=0)
    return total
