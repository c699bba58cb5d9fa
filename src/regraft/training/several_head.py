"""A linear head for several targets: each solved on the same features as if it were alone, then put side by side.

Knows neither files nor options: features, manifest and settings come in, a head and its history go out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.classifier.files import Head
from regraft.heads.layers import LinearLayers
from regraft.heads.numbers import NumbersTarget, points_in
from regraft.heads.several import Member, SeveralTargets
from regraft.heads.targets import target_for
from regraft.images.manifest import TARGET
from regraft.images.target_columns import label_array
from regraft.training.feature_columns import SelectedFeatures, features_by_view, rows_of_each_view
from regraft.training.head import NotConvergedError
from regraft.training.learnt import given_weights
from regraft.training.linear_probe import SolverSettings, fit_linear_probe, group_folds
from regraft.training.ridge import fit_ridge
from regraft.training.units import units_of_training

Floats = NDArray[np.float64]
_NOTHING_BALANCED = {
    "asked": "none",
    "chosen": "none",
    "reason": "asked for",
    "class_weights": {},
    "candidates": [],
}


def fit_several_head(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    manifest: pd.DataFrame,
    targets: Sequence[Mapping[str, Any]],
    *,
    settings: SolverSettings,
    stages: Sequence[str] | None = None,
    view_features: NDArray[np.float32] | None = None,
) -> tuple[Head, dict[str, Any], dict[str, Any]]:
    """Fit one linear layer that predicts all targets.

    Classes are solved by logistic regression, numbers and points by ridge regression, each target with a penalty of its
    own from cross-validation within train; so none is worse for the company of another.

    Args:
        features: See `fit_head`, and there for the others.
        targets: What there is to be learnt, as `describe_targets` describes it.
        settings: Penalties and folds for all, tolerance and iterations for classes.

    Returns:
        The head, its history (`summary`, and a row a target and penalty), and the choice of balance as
        `fit_balanced_head` gives it: there is none.

    Raises:
        NotConvergedError: If a logistic regression was not solved to its tolerance.
    """
    stages = tuple(stages or (list(feature_dims)[-1],))
    train = np.flatnonzero(manifest["split"] == "train")
    views = features_by_view(features, view_features)
    learnt = rows_of_each_view(views, train, feature_dims, stages)
    images = manifest.iloc[np.tile(train, len(views))]
    units = np.tile(units_of_training(manifest), len(views))
    weights = given_weights(images)
    views_of_rows = np.repeat(np.arange(len(views)), len(train))
    strata = strata_of(images, targets)
    folds = group_folds(strata, units, len(np.unique(strata)), settings)
    members, layers, rows, summary = list[Member](), list[tuple[Floats, Floats]](), list[dict[str, Any]](), {}
    for target in targets:
        wanted = label_array(images, [target])
        if target["kind"] == "classes":
            found = _fit_classes(learnt, wanted[:, 0].astype(np.int64), target, units, weights, settings)
        else:
            wanted = _in_views(wanted, views_of_rows, target)
            found = _fit_numbers(learnt, wanted, target, folds, weights, settings)
        member, layer, of_target, history = found
        members.append(member)
        layers.append(layer)
        summary[target["name"]] = of_target
        rows += [{"target": target["name"], **row} for row in history]
    modules = _side_by_side(layers)
    head = Head(modules, LinearLayers(), learnt.shape[1], SeveralTargets(members=tuple(members)), stages)
    told = {"criterion": "each target solved", "is_converged": True, "targets": summary}
    return head, {"summary": told, "rows": rows}, dict(_NOTHING_BALANCED)


def strata_of(images: pd.DataFrame, targets: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    """`(R,)` what the folds of numbers and points are stratified by: the classes that images are split by. Parts of a
    number may be too small for that; then all 0."""
    if any(target["kind"] == "classes" for target in targets):
        return images[TARGET].to_numpy(np.int64)
    return np.zeros(len(images), np.int64)


def _in_views(wanted: Floats, views: NDArray[np.int64], target: Mapping[str, Any]) -> Floats:
    """Numbers `(R, D)` of rows that show a view of their image; points move with it."""
    if target["kind"] != "points":
        return wanted
    parts = [
        points_in(torch.from_numpy(wanted[views == view]), int(view), target.get("partners")).numpy()
        for view in np.unique(views)  # the rows lie view after view
    ]
    return np.concatenate(parts)


_Found = tuple[Member, tuple[Floats, Floats], dict[str, float], list[dict[str, float]]]


def _fit_classes(
    features: SelectedFeatures,
    labels: NDArray[np.int64],
    target: Mapping[str, Any],
    units: NDArray[np.int64],
    weights: Floats,
    settings: SolverSettings,
) -> _Found:
    names = tuple(target["label_names"])
    probe = fit_linear_probe(
        features, labels, num_classes=len(names), groups=units, settings=settings, weights=weights
    )
    if not probe.is_converged:
        raise NotConvergedError(
            f"target {target['name']!r} did not converge (largest gradient entry at most {settings.tolerance:g}) in "
            f"{probe.iterations} iterations; raise train_head.head.max_iterations, or the penalties"
        )
    summary = {"penalty": probe.penalty, "gradient_norm": probe.gradient_norm, "iterations": probe.iterations}
    return target_for(target["name"], names), (probe.weight, probe.bias), summary, probe.history


def _fit_numbers(
    features: SelectedFeatures,
    wanted: Floats,
    target: Mapping[str, Any],
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    weights: Floats,
    settings: SolverSettings,
) -> _Found:
    still = np.flatnonzero(wanted.min(axis=0) == wanted.max(axis=0))
    if len(still):
        raise ValueError(
            f"target {target['name']!r}: the same value in all training images (number {still[0]} of "
            f"{wanted.shape[1]}): there is nothing to learn"
        )
    ridge = fit_ridge(features, wanted, folds=folds, penalties=settings.penalties, weights=weights)
    member = NumbersTarget(
        kind=target["kind"],
        column=target["name"],
        mean=tuple(ridge.mean.tolist()),
        scale=tuple(ridge.scale.tolist()),
        noise=tuple(ridge.noise.tolist()),
        partners=target.get("partners"),
    )
    summary = {"penalty": ridge.penalty, "gradient_norm": ridge.gradient_norm}
    return member, (ridge.weight, ridge.bias), summary, ridge.history


def _side_by_side(layers: Sequence[tuple[Floats, Floats]]) -> nn.Sequential:
    weight, bias = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    with torch.device("meta"):
        modules = LinearLayers().build(weight.shape[1], len(bias))
    modules.to_empty(device="cpu")
    linear = modules[0]
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    return modules.eval().requires_grad_(False)
