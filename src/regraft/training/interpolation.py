"""Between the probe and the fine-tuned model: a straight line in weights, and the point on it that `val` likes best.

Knows two classifiers of one shape, nothing of how either was trained.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from regraft.classifier.classifier import Classifier
from regraft.training.answer_scores import score_answers
from regraft.training.measuring import predict_examples
from regraft.training.reproducibility import Compute
from regraft.training.scoring import SelectionMetric, cost_of
from regraft.training.tuning_loop import Examples

_GRID = tuple(step / 10 for step in range(11))


@dataclass(frozen=True)
class Interpolated:
    """The classifier at the coefficient chosen, and what `val` said of each.

    Attributes:
        classifier: On the computing device.
        coefficient: 0 is the probe, 1 the fine-tuned model.
        rows: `coefficient` and the scores of `score_answers`; none where nothing was measured.
    """

    classifier: Classifier
    coefficient: float
    rows: list[dict[str, float]]


def interpolate(
    start: Classifier,
    tuned: Classifier,
    first_stage: str | None,
    val: Examples,
    *,
    coefficient: float | Literal["auto"],
    metric: SelectionMetric,
    batch_size: int,
    compute: Compute,
) -> Interpolated:
    """Weights, and running statistics that moved, on the line between two classifiers.

    Args:
        start: Coefficient 0.
        tuned: Coefficient 1.
        first_stage: The first stage in which they differ; None where only the head does.
        val: As that stage sees it.
        coefficient: In [0, 1]; `auto` takes that of eleven from 0 to 1 which is best by `metric`, of equals the one
            nearest to the fine-tuned model.
        metric: On `val`.
        batch_size: Images a forward pass.

    Source:
        WiSE-FT: Wortsman et al. 2022, arXiv:2109.01903.
    """
    rows = []
    for one in _GRID if coefficient == "auto" else (coefficient,):
        answers = predict_examples(
            on_the_line(start, tuned, one),
            first_stage,
            val.inputs,
            len(val.labels),
            batch_size=batch_size,
            compute=compute,
        )
        scores = score_answers(tuned.target, answers, val.labels, val.shares.weights)
        rows.append({"coefficient": one, **scores})
    costs = [cost_of(row, metric) for row in rows]
    best = len(rows) - 1 - int(np.argmin(costs[::-1]))
    chosen = rows[best]["coefficient"]
    return Interpolated(on_the_line(start, tuned, chosen), chosen, rows)


def on_the_line(start: Classifier, tuned: Classifier, coefficient: float) -> Classifier:
    """A classifier between two; what is equal in both stays the same to the bit, as do both ends."""
    between = copy.deepcopy(tuned)
    ends = start.state_dict()
    with torch.no_grad():
        for name, tensor in between.state_dict().items():
            if tensor.is_floating_point() and coefficient < 1:
                tensor.copy_(torch.lerp(ends[name].to(tensor.device), tensor, coefficient))
    return between


def add_moved(mean: Classifier, start: Classifier, tuned: Classifier, weight: float) -> None:
    """Move a classifier by a weight times what training has moved another one from a start; what it has not moved
    stays the same to the bit."""
    ends, moved = start.state_dict(), tuned.state_dict()
    with torch.no_grad():
        for name, tensor in mean.state_dict().items():
            if tensor.is_floating_point():
                tensor.add_(moved[name].to(tensor.device) - ends[name].to(tensor.device), alpha=weight)
