"""The linear probe: logistic regression on frozen features, solved to a tolerance, its penalty cross-validated.

Knows arrays, labels and weights only; no network is run here.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from regraft.training.penalised_regression import PenalisedRegression
from regraft.training.penalty_path import predict_along_penalties
from regraft.training.standardised_rows import (
    FeatureSource,
    Floats,
    Ints,
    Rows,
    StandardisedRows,
    held_if_few,
    mean_and_variance,
)

_SHARED_VARIANCE = 0.1  # chosen on the demonstration: 0.03 to 1 differ little, 0 loses


@dataclass(frozen=True)
class SolverSettings:
    """How a linear probe is solved.

    Attributes:
        penalties: Candidate L2 penalties, > 0; one alone is taken without cross-validation.
        num_folds: Folds of the cross-validation, ≥ 2.
        tolerance: The solver stops when no entry of the objective's gradient exceeds it.
        max_iterations: A stop for what does not converge; reaching it shows in `LinearProbe.is_converged`.
        seed: Shuffles the folds.
    """

    penalties: tuple[float, ...]
    num_folds: int
    tolerance: float
    max_iterations: int
    seed: int


@dataclass(frozen=True)
class LinearProbe:
    """A solved linear layer on raw (not standardised) features.

    Attributes:
        weight: `(O, D)` float64; O is 1 for two classes (the logit of the second), else K.
        bias: `(O,)` float64.
        penalty: The L2 penalty chosen.
        gradient_norm: Largest absolute entry of the objective's gradient at the solution.
        iterations: L-BFGS iterations of the final fit.
        is_converged: Whether `gradient_norm` is within the tolerance asked for.
        history: A row a penalty tried, from strong to weak; none weaker once log-loss has clearly risen.
    """

    weight: Floats
    bias: Floats
    penalty: float
    gradient_norm: float
    iterations: int
    is_converged: bool
    history: list[dict[str, float]]


def fit_linear_probe(
    features: FeatureSource,
    labels: Ints,
    *,
    num_classes: int,
    groups: Ints,
    settings: SolverSettings,
    weights: Floats | None = None,
    targets: Floats | None = None,
) -> LinearProbe:
    """Solve an L2-penalised logistic regression by full-batch L-BFGS.

    The objective is mean (weighted) cross-entropy + penalty / 2 · ‖weight‖² over features standardised to mean 0 and
    a deviation of nearly 1 (see `standardisation`); that is folded into the returned layer. The penalty with the least
    cross-validated log-loss is taken; of equals the stronger.

    Args:
        features: `(N, D)` float32; many are read again and again, a few rows at a time, and never copied whole.
        labels: `(N,)` int64 in [0, num_classes).
        num_classes: K ≥ 2.
        groups: `(N,)` group numbers; a group is never on both sides of a fold.
        settings: Candidate penalties, folds, tolerance.
        weights: `(N,)` float64, mean 1, what each row's loss counts, in the cross-validation too; all 1 if None.
        targets: `(N, K)` float64 class probabilities, rows sum to 1, learnt instead of the labels, in the
            cross-validation too; the labels then only stratify the folds.

    Raises:
        ValueError: If a class has no row, or no fold can be made of the groups.

    Source:
        Standardised linear evaluation as in Kornblith et al. 2019, arXiv:1805.08974, section A.3.
    """
    data = _Data.of(labels, num_classes, groups, weights, targets)
    mean, scale = standardisation(features)
    rows = StandardisedRows(features, np.arange(len(features)), mean, scale, np.float64)
    # One after the other: held, one is as large as all features, the other twice as large.
    penalty, history = _choose_penalty(replace(rows, dtype=np.float32), data, settings)
    probe = _solve(rows, data, settings, penalty, history)
    weight = probe.weight / scale
    return replace(probe, weight=weight, bias=probe.bias - weight @ mean)


def solve_penalised(
    features: Floats,
    labels: Ints,
    *,
    num_classes: int,
    groups: Ints,
    settings: SolverSettings,
    weights: Floats | None = None,
    targets: Floats | None = None,
) -> LinearProbe:
    """As `fit_linear_probe`, of features `(N, D)` whose scale means something: they are taken as they are."""
    data = _Data.of(labels, num_classes, groups, weights, targets)
    return _solve(features, data, settings, *_choose_penalty(features, data, settings))


@dataclass(frozen=True)
class _Data:
    """What is learnt from beside the features, a row an image."""

    labels: Ints
    groups: Ints
    targets: Floats
    weights: Floats

    @classmethod
    def of(
        cls, labels: Ints, num_classes: int, groups: Ints, weights: Floats | None, targets: Floats | None
    ) -> Self:
        present = set(np.unique(labels).tolist())
        if missing := sorted(set(range(num_classes)) - present):
            raise ValueError(f"no training image has label number(s) {missing}; the head cannot learn them")
        return cls(
            labels,
            groups,
            np.eye(num_classes)[labels] if targets is None else targets,
            np.ones(len(labels)) if weights is None else weights,
        )


def _choose_penalty(
    features: Rows, data: _Data, settings: SolverSettings
) -> tuple[float, list[dict[str, float]]]:
    """The penalty with the least cross-validated log-loss, and a row a penalty tried.

    Choosing needs no more than coarse solutions, nor more than float32, which takes half the time.
    """
    penalties = sorted(settings.penalties, reverse=True)
    if len(penalties) == 1:
        return penalties[0], [{"penalty": penalties[0]}]
    folds = group_folds(data.labels, data.groups, data.targets.shape[1], settings)
    features = held_if_few(features)

    def losses_and_hits(log_probabilities: Floats, rows: Ints) -> Floats:
        hits = log_probabilities.argmax(axis=1) == data.labels[rows]
        return np.stack([-(data.targets[rows] * log_probabilities).sum(axis=1), hits])

    # One thread: sums over more are rounded otherwise, and the result would depend on the machine's cores.
    with threadpool_limits(1):
        judged = predict_along_penalties(
            lambda learnt, held_out: (features[learnt], features[held_out]),
            folds,
            data.targets,
            data.weights,
            penalties=penalties,
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
            keep=losses_and_hits,
        )
    weights = data.weights[np.concatenate([held_out for _, held_out in folds])]
    means = np.average(np.concatenate(judged, axis=2), axis=2, weights=weights)
    history = [
        {"penalty": penalty, "cv_log_loss": float(loss), "cv_accuracy": float(accuracy)}
        for penalty, (loss, accuracy) in zip(penalties, means, strict=False)  # weaker ones were not tried
    ]
    return penalties[int(np.argmin([row["cv_log_loss"] for row in history]))], history


def _solve(
    features: Rows,
    data: _Data,
    settings: SolverSettings,
    penalty: float,
    history: list[dict[str, float]],
) -> LinearProbe:
    problem = PenalisedRegression(held_if_few(features), data.targets, data.weights, penalty)
    with threadpool_limits(1):
        parameters, iterations = problem.solve(settings.tolerance, settings.max_iterations)
        gradient_norm = float(np.abs(problem.objective(parameters)[1]).max())
    return LinearProbe(
        weight=parameters[:, :-1],
        bias=parameters[:, -1],
        penalty=penalty,
        gradient_norm=gradient_norm,
        iterations=iterations,
        is_converged=gradient_norm <= settings.tolerance,
        history=history,
    )


def standardisation(features: FeatureSource, rows: Ints | None = None) -> tuple[Floats, Floats]:
    """Mean and scale `(D,)` of every feature: the root of its variance and of a part of all features' mean variance.

    A feature that hardly varies among the training images may vary a lot in others, from a new module or camera. Over
    its deviation alone it would reach thousands there, and a probability of 0 or 1 with it.

    Args:
        features: `(N, D)` float32; many rows are read block by block.
        rows: `(R,)` those that count, at least one; None for all.
    """
    mean, variance = mean_and_variance(features, np.arange(len(features)) if rows is None else rows)
    scale = np.sqrt(variance + _SHARED_VARIANCE * variance.mean())
    # Where none varies none says anything: divided by 1 they stay 0 after centring.
    return mean, np.where(scale > 1e-12, scale, 1.0)


def group_folds(
    labels: Ints, groups: Ints, num_classes: int, settings: SolverSettings
) -> list[tuple[Ints, Ints]]:
    """Rows to learn from and rows held out, a pair a fold; a group is never on both sides.

    Raises:
        ValueError: If no fold leaves every class something to learn from.
    """
    num_folds = min(settings.num_folds, len(np.unique(groups)))
    if num_folds > 1:
        splitter = StratifiedGroupKFold(n_splits=num_folds, shuffle=True, random_state=settings.seed)
        folds = [
            (train, held_out)
            for train, held_out in splitter.split(labels, labels, groups)
            if len(held_out) and len(np.unique(labels[train])) == num_classes
        ]
        if folds:
            return folds
    raise ValueError(
        "the training images' groups cannot be parted into folds that leave every class something to learn from; "
        "give a single penalty in train_head.head.penalties"
    )
