"""Linear probes at every depth of a network: what each stage's features, alone and joined, say of the labels.

Knows features and labels of the training images only: `val` and `test` are never handed in.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regraft.cores import count_cores
from regraft.messages import report_progress
from regraft.training.feature_columns import stage_columns
from regraft.training.linear_probe import SolverSettings, group_folds
from regraft.training.out_of_fold import OutOfFold, predict_held_out
from regraft.training.standardised_rows import Floats, Ints

_TASK = "probing depths"
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Depth:
    """Which features a probe sees.

    Attributes:
        features: `last`: of its stage alone; `concat`: of its stage and all before it. The words of
            `train_head.features`.
        stage: The deepest stage that has to be run.
        feature_dim: How many features.
    """

    features: Literal["last", "concat"]
    stage: str
    feature_dim: int


@dataclass(frozen=True)
class DepthProbe(Depth):
    """One probe's predictions of images that it did not learn from.

    Attributes:
        probabilities: `(N, K)` float64, each row by the probe of the fold that held it out.
        penalties: L2 penalty of each fold, chosen on the other folds.
    """

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
    check_widths(features, feature_dims)
    folds = depth_folds(labels, groups, num_classes, settings)

    def probe(some: NDArray[np.float32]) -> OutOfFold:
        return predict_held_out(some, labels, num_classes=num_classes, folds=folds, settings=settings)

    return [
        DepthProbe(at.features, at.stage, at.feature_dim, found.probabilities, found.penalties)
        for at, found in at_every_depth(features, feature_dims, probe)
    ]


def check_widths(features: NDArray[np.float32], feature_dims: Mapping[str, int]) -> None:
    """Raise ValueError if the features are not as wide as the stages."""
    if features.shape[1] != sum(feature_dims.values()):
        raise ValueError(
            f"{features.shape[1]} features, but the stages have {sum(feature_dims.values())}: run build_backbone again"
        )


def depth_folds(
    labels: Ints, groups: Ints, num_classes: int, settings: SolverSettings
) -> list[tuple[Ints, Ints]]:
    """Rows to learn from and rows held out, a pair a fold; every row is held out once.

    Raises:
        ValueError: If the groups cannot be parted so that every class can be learnt in every fold.
    """
    folds = group_folds(labels, groups, num_classes, settings)
    if (num_told := sum(len(held_out) for _, held_out in folds)) < len(labels):
        raise ValueError(
            f"{len(labels) - num_told} of {len(labels)} training images cannot be held out: without their groups a "
            "class has nothing left to learn from. Lower probe.num_folds, or give each class more groups"
        )
    return folds


def at_every_depth(
    features: NDArray[np.float32],
    feature_dims: Mapping[str, int],
    probe: Callable[[NDArray[np.float32]], _Found],
) -> list[tuple[Depth, _Found]]:
    """What a probe finds in the features of each stage alone, and of each stage together with all before it.

    Args:
        features: `(N, D)` float32, the stages side by side.
        feature_dims: Length of each stage's features, in depth order.
        probe: Called with `(N, d)` of them, from several threads.

    Returns:
        The stages alone from shallow to deep, then joined, from the first alone to all.
    """
    columns = stage_columns(feature_dims)
    alone = [(Depth("last", stage, feature_dims[stage]), own) for stage, own in columns.items()]
    # The first stage alone is all up to it
    joined = [
        (Depth("concat", stage, own.stop), slice(0, own.stop)) for stage, own in columns.items() if own.start
    ]
    num_probes = len(alone) + len(joined)
    found: list[_Found] = []
    # Each computes with one thread, so that how many run at once changes no bit. The widest first: they take longest.
    with threadpool_limits(1), ThreadPoolExecutor(count_cores()) as threads:
        for one in threads.map(lambda asked: probe(features[:, asked[1]]), [*alone, *joined][::-1]):
            found.append(one)
            report_progress(_TASK, len(found), num_probes)
    found.reverse()
    depths = [depth for depth, _ in [*alone, *joined]]
    together = list(zip(depths, found, strict=True))
    first = (replace(depths[0], features="concat"), found[0])
    return [*together[: len(alone)], first, *together[len(alone) :]]
