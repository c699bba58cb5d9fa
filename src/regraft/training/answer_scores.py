"""How good a classifier's answers are by what is true, whatever its targets are.

Knows answers and labels as arrays, nothing of what gave them. One label is scored as `scoring` does; of several targets
all costs are nats and summed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.heads.numbers import NumbersTarget
from regraft.heads.several import AnyTarget, Member, SeveralTargets
from regraft.training.scoring import (
    Floats,
    SelectionMetric,
    fit_temperature,
    image_costs,
    log_losses,
    score,
    softened,
)
from regraft.training.target_answers import HEADLINES, headline_scores, shaped

_LOG_LOSSES: tuple[SelectionMetric, ...] = ("log_loss", "calibrated_log_loss")


def answer_costs(
    target: AnyTarget, answers: Floats, labels: NDArray[Any], weights: Floats, *, metric: SelectionMetric
) -> Floats:
    """What each image costs by a metric, `(N,)`, times its weight; see `scoring.image_costs`.

    Args:
        target: What the answers are to.
        answers: `(N, A)`.
        labels: `(N,)` numbers of classes, or `(N, L)` of several targets, as `SeveralTargets.learnt` takes them.
        weights: `(N,)`, mean 1.
        metric: Of several targets both log-losses are sums over the targets, as `SeveralTargets.loss` has them; one is
            calibrated class target by class target.

    Raises:
        ValueError: If several targets are to be judged by accuracy.
    """
    if not isinstance(target, SeveralTargets):
        return image_costs(answers, labels, weights, metric=metric)
    if metric == "accuracy":
        raise ValueError("several targets have no one accuracy: set fine_tune.selection_metric to a log-loss")
    is_calibrated = metric == "calibrated_log_loss"
    total = np.zeros(len(answers))
    for member, _, of_labels, of_answers in target.parts():
        total += _costs(
            member, answers[:, of_answers], labels[:, of_labels], weights, is_calibrated=is_calibrated
        )
    return total * weights


def score_answers(
    target: AnyTarget, answers: Floats, labels: NDArray[Any], weights: Floats
) -> dict[str, float]:
    """The scores of `val` as a row of a history has them; see `scoring.score`.

    Of several targets `val_log_loss` and `val_calibrated_log_loss` are sums over them, and each has one score more:
    `val_<target>.accuracy`, `val_<target>.mean_absolute_error` in its own unit, or `val_<target>.mean_distance` of its
    points, as a fraction of the image's side.
    """
    if not isinstance(target, SeveralTargets):
        return score(answers, labels, weights)
    row = {
        f"val_{metric}": float(answer_costs(target, answers, labels, weights, metric=metric).mean())
        for metric in _LOG_LOSSES
    }
    for member, _, of_labels, of_answers in target.parts():
        name, errors = _errors(member, answers[:, of_answers], labels[:, of_labels])
        row[f"val_{member.column}.{name}"] = float((errors * weights).mean())
    return row


def _costs(
    member: Member, answers: Floats, labels: NDArray[Any], weights: Floats, *, is_calibrated: bool
) -> Floats:
    if isinstance(member, NumbersTarget):
        units = np.array(member.scale) * np.array(member.noise)
        costs: Floats = (((answers - labels) / units) ** 2).mean(axis=1) / 2
        return costs
    classes = labels[:, 0].astype(np.int64)
    if is_calibrated:
        answers = softened(answers, fit_temperature(answers, classes, weights))
    return log_losses(answers, classes)


def _errors(member: Member, answers: Floats, labels: NDArray[Any]) -> tuple[str, Floats]:
    """The name of the score that people know, and what it is of each image."""
    if not isinstance(member, NumbersTarget):
        return HEADLINES["classes"], headline_scores(labels[:, 0], answers, "classes")
    kind = member.kind
    return HEADLINES[kind], headline_scores(shaped(labels, kind), shaped(answers, kind), kind)
