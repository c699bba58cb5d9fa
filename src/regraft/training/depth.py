"""Linear probes at every depth of a network: what each stage's features, alone and joined, say of the labels.

Knows features and labels of the training images only: `val` and `test` are never handed in.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regraft.cores import count_cores
from regraft.messages import report_progress
from regraft.training.feature_columns import stage_columns
from regraft.training.linear_probe import SolverSettings, group_folds
from regraft.training.out_of_fold import predict_held_out
from regraft.training.standardised_rows import Floats, Ints

_TASK = "probing depths"
_Asked = tuple[Literal["last", "concat"], str, slice]


@dataclass(frozen=True)
class DepthProbe:
    """One probe's predictions of images that it did not learn from.

    Attributes:
        features: `last`: of its stage alone; `concat`: of its stage and all before it. The words of
            `train_head.features`.
        stage: The deepest stage that has to be run.
        feature_dim: How many features.
        probabilities: `(N, K)` float64, each row by the probe of the fold that held it out.
        penalties: L2 penalty of each fold, chosen on the other folds.
    """

    features: Literal["last", "concat"]
    stage: str
    feature_dim: int
    probabilities: Floats
    penalties: tuple[float, ...]


def probe_depths(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    labels: Ints,
    *,
    num_classes: int,
    groups: Ints,
    settings: SolverSettings,
) -> list[DepthProbe]:
    """Cross-validated linear probes on each stage alone, and on each stage together with all before it.

    A fold's penalty is the one with the least log-loss on the *other* folds' held-out rows, so no row takes part in
    choosing the penalty that it is judged under, and no probe is fitted twice.

    Args:
        features: `(N, D)` float32, the stages side by side as `extract_features` gives them; training images only.
        feature_dims: Length of each stage's features, in depth order.
        labels: `(N,)` int64 in [0, num_classes).
        num_classes: K ≥ 2.
        groups: `(N,)` group numbers; a group is never on both sides of a fold. All probes share the folds.
        settings: Candidate penalties, folds, tolerance.

    Returns:
        The stages alone from shallow to deep, then joined, from the first alone to all.

    Raises:
        ValueError: If the features are not as wide as the stages, or the groups cannot be parted so that every class
            can be learnt in every fold.
    """
    columns = stage_columns(feature_dims)
    if features.shape[1] != sum(feature_dims.values()):
        raise ValueError(
            f"{features.shape[1]} features, but the stages have {sum(feature_dims.values())}: run build_backbone again"
        )
    folds = group_folds(labels, groups, num_classes, settings)
    if (num_told := sum(len(held_out) for _, held_out in folds)) < len(labels):
        raise ValueError(
            f"{len(labels) - num_told} of {len(labels)} training images cannot be held out: without their groups a "
            "class has nothing left to learn from. Lower probe.num_folds, or give each class more groups"
        )
    alone: list[_Asked] = [("last", stage, own) for stage, own in columns.items()]
    # The first stage alone is all up to it
    joined: list[_Asked] = [
        ("concat", stage, slice(0, own.stop)) for stage, own in columns.items() if own.start
    ]
    num_probes = len(alone) + len(joined)

    def probe(asked: _Asked) -> DepthProbe:
        kind, stage, own = asked
        return _probe(features[:, own], kind, stage, labels, num_classes, folds, settings)

    probes: list[DepthProbe] = []
    # Each computes with one thread, so that how many run at once changes no bit. The widest first: they take longest.
    with threadpool_limits(1), ThreadPoolExecutor(count_cores()) as threads:
        for one in threads.map(probe, [*alone, *joined][::-1]):
            probes.append(one)
            report_progress(_TASK, len(probes), num_probes)
    probes.reverse()
    return [*probes[: len(alone)], replace(probes[0], features="concat"), *probes[len(alone) :]]


def _probe(
    features: NDArray[np.float32],
    kind: Literal["last", "concat"],
    stage: str,
    labels: Ints,
    num_classes: int,
    folds: list[tuple[Ints, Ints]],
    settings: SolverSettings,
) -> DepthProbe:
    found = predict_held_out(features, labels, num_classes=num_classes, folds=folds, settings=settings)
    return DepthProbe(kind, stage, features.shape[1], found.probabilities, found.penalties)
