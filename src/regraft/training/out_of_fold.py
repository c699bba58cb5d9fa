"""What a probe, linear or of a kernel, says of images that it was not trained on.

Knows feature arrays, labels and which rows belong together: no manifest, no split, no file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from regraft.training.linear_probe import SolverSettings, group_folds, standardisation
from regraft.training.nystrom import Kernel
from regraft.training.penalty_path import predict_along_penalties
from regraft.training.standardised_rows import Floats, Ints, Rows, StandardisedRows, held_if_few


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities `(N, K)` float64 of every row from the fold that held it out (NaN where none did), and the penalty
    of each fold."""

    probabilities: Floats
    penalties: tuple[float, ...]


def predict_out_of_fold(
    features: NDArray[np.float32],
    labels: Ints,
    *,
    num_classes: int,
    groups: Ints,
    settings: SolverSettings,
    kernel: Kernel | None = None,
    on_fold: Callable[[int, int], None] = lambda done, total: None,
) -> OutOfFold:
    """Cross-validated predictions of every row; see `predict_held_out`.

    Args:
        features: `(N, D)` float32.
        labels: `(N,)` int64 in [0, num_classes).
        num_classes: K ≥ 2.
        groups: `(N,)` group numbers; a group is never on both sides of a fold.
        settings: Candidate penalties, folds, tolerance; the seed draws centres too.
        kernel: Of the probes; None: they are linear.
        on_fold: Called with the numbers of folds done and of all.

    Raises:
        ValueError: If the groups cannot be parted so that every class can be learnt in every fold.
    """
    try:
        folds = group_folds(labels, groups, num_classes, settings)
    except ValueError:
        folds = []
    if sum(len(held_out) for _, held_out in folds) < len(labels):
        raise ValueError(
            f"the images cannot be parted into {settings.num_folds} folds of related ones that leave every class "
            "something to learn from: a class lies in too few groups. Set audit.hold_out to 'images', lower "
            "audit.num_folds, or add images"
        )
    return predict_held_out(
        features,
        labels,
        num_classes=num_classes,
        folds=folds,
        settings=settings,
        kernel=kernel,
        on_fold=on_fold,
    )


def predict_held_out(
    features: NDArray[np.float32],
    labels: Ints,
    *,
    num_classes: int,
    folds: Sequence[tuple[Ints, Ints]],
    settings: SolverSettings,
    kernel: Kernel | None = None,
    on_fold: Callable[[int, int], None] = lambda done, total: None,
) -> OutOfFold:
    """What a probe fitted on each fold's rows says of the rows held out.

    A fold's penalty is the one with the least log-loss on the *other* folds' held-out rows, so no row takes part in
    choosing the penalty that it is judged under, and no probe is fitted twice.
    """
    penalties = sorted(settings.penalties, reverse=True)

    def arrays(learnt: Ints, held_out: Ints) -> tuple[Rows, Rows]:
        # Of the rows learnt from: what is rare there may be far out in a new group, as it is for a head in use.
        mean, scale = standardisation(features, learnt)
        # float32: half the time, and the tolerance is far coarser
        rows, judged = (
            StandardisedRows(features, some, mean, scale, np.float32) for some in (learnt, held_out)
        )
        if kernel is None:
            return held_if_few(rows), held_if_few(judged)
        return kernel.features(rows.whole(), judged.whole(), generator=np.random.default_rng(settings.seed))

    # One thread: sums over more are rounded otherwise, and the result would depend on the machine's cores.
    with threadpool_limits(1):
        predicted = predict_along_penalties(
            arrays,
            folds,
            np.eye(num_classes)[labels],
            np.ones(len(labels)),
            penalties=penalties,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
            on_fold=on_fold,
        )
    losses = [
        -of_fold[:, np.arange(len(held_out)), labels[held_out]].sum(axis=1)
        for of_fold, (_, held_out) in zip(predicted, folds, strict=True)
    ]
    probabilities = np.full((len(labels), num_classes), np.nan)
    chosen = []
    for fold, (_, held_out) in enumerate(folds):
        others = np.sum([loss for other, loss in enumerate(losses) if other != fold], axis=0)
        best = int(np.argmin(others)) if len(folds) > 1 else 0
        probabilities[held_out] = np.exp(predicted[fold][best])
        chosen.append(penalties[best])
    return OutOfFold(probabilities, tuple(chosen))
