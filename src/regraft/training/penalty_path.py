"""Cross-validation along penalties, from strong to weak, that ends where weaker ones have become worse.

Knows arrays alone: how folds are made, and what is made of their predictions, is decided elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from regraft.training.penalised_regression import PenalisedRegression, log_softmax
from regraft.training.standardised_rows import Floats, Ints, Rows

_RISE, _LEAST_RISE = 0.05, 0.01
_COARSE = 1e-4  # choosing needs no closer solution


def predict_along_penalties(
    arrays: Callable[[Ints, Ints], tuple[Rows, Rows]],
    folds: Sequence[tuple[Ints, Ints]],
    targets: Floats,
    weights: Floats,
    *,
    penalties: Sequence[float],
    tolerance: float,
    max_iterations: int,
    keep: Callable[[Floats, Ints], Floats] = lambda log_probabilities, held_out: log_probabilities,
    on_fold: Callable[[int, int], None] = lambda done, total: None,
) -> list[Floats]:
    """Log-probabilities of each fold's held-out rows under each penalty tried, each solution starting from the last.

    Weak penalties take most of the time and seldom win. So the folds stop, all at the same penalty, once the mean
    log-loss over all of them, and over all but any one, is more than 5 % and 0.01 nats above the least so far. What is
    chosen by the least of these is what would be chosen among all, unless a curve turns back after such a rise.

    Args:
        arrays: Gives, for rows to learn from and rows held out, their features `(n, D)` and `(m, D)`, standardised
            alike; products are computed in their type. Called fold by fold: one fold's copies are in memory at a time.
        folds: Rows to learn from and rows held out, at least one pair.
        targets: `(N, K)` class probabilities, rows sum to 1.
        weights: `(N,)` what each row's loss counts.
        penalties: At least one; they are tried from strong to weak: then each start is near.
        tolerance: Largest entry of the gradient; at least 1e-4 is taken.
        max_iterations: Of each solution.
        keep: What to keep of log-probabilities `(m, K)` of rows held out `(m,)`, where all of them would be too much.
        on_fold: Called with the numbers of folds done and of all.

    Returns:
        An array `(P, m, K)` float64 a fold, of the P strongest penalties; `(P, …)` of what is kept instead.
    """
    penalties = sorted(penalties, reverse=True)
    paths = [_Path(targets[held_out], weights[held_out]) for _, held_out in folds]
    first = paths[0]

    def go_on(number: int, until: Callable[[_Path], bool]) -> None:
        path, (learnt, held_out) = paths[number], folds[number]
        features, judged = arrays(learnt, held_out)
        for penalty in penalties[len(path.losses) :]:
            problem = PenalisedRegression(features, targets[learnt], weights[learnt], penalty)
            path.parameters, _ = problem.solve(max(tolerance, _COARSE), max_iterations, path.parameters)
            log_probabilities = log_softmax(judged, path.parameters)
            path.add(log_probabilities, keep(log_probabilities, held_out))
            if until(path):
                return

    # The first fold says how far to go: mostly as far as all of them want to.
    go_on(0, lambda path: _has_risen(path.mean_losses()))
    on_fold(1, len(folds))
    for number in range(1, len(folds)):
        go_on(number, lambda path: len(path.losses) == len(first.losses))
        on_fold(number + 1, len(folds))
    while len(first.losses) < len(penalties) and not _have_all_risen(paths):
        for number in range(len(folds)):
            go_on(number, lambda _: True)
    return [np.stack(path.kept) for path in paths]


@dataclass
class _Path:
    """One fold's way so far: sums of held-out losses, what is kept, and where the next solution starts."""

    targets: Floats
    weights: Floats
    losses: list[float] = field(default_factory=list)
    kept: list[Floats] = field(default_factory=list)
    parameters: Floats | None = None

    def add(self, log_probabilities: Floats, kept: Floats) -> None:
        self.kept.append(kept)
        self.losses.append(float(self.weights @ -(self.targets * log_probabilities).sum(axis=1)))

    def mean_losses(self) -> Floats:
        means: Floats = np.array(self.losses) / self.weights.sum()
        return means


def _have_all_risen(paths: Sequence[_Path]) -> bool:
    """Whether the mean loss over all folds has, and that over all but any one."""
    losses = np.array([path.losses for path in paths])
    counted = np.array([path.weights.sum() for path in paths])
    kept = [*np.where(np.eye(len(paths)), 0.0, 1.0), np.ones(len(paths))]
    return all(_has_risen(some @ losses / (some @ counted)) for some in kept if some.any())


def _has_risen(means: Floats) -> bool:
    least = float(means.min())
    return bool(means[-1] > least + max(_RISE * least, _LEAST_RISE))
