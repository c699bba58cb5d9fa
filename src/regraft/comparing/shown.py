"""Which of a comparison's metrics are shown: the one that models are told apart by, and those of each target.

Knows what `compare_models` gives; no page, no figure, no terminal.
"""

from collections.abc import Mapping
from typing import Any

from regraft.evaluation.several.scores import JOINT_LOSS
from regraft.training.target_answers import headline_metric


def compared_by(comparison: Mapping[str, Any]) -> str:
    """The metric that differences on test are in."""
    return JOINT_LOSS if comparison.get("targets") else "accuracy"


def target_metrics(comparison: Mapping[str, Any]) -> list[str]:
    """The headline metric of each target, `age.mean_absolute_error`; none of one label."""
    return [headline_metric(target) for target in comparison.get("targets", ())]


def table_metrics(comparison: Mapping[str, Any]) -> list[str]:
    """What a table of all models holds of test."""
    if comparison.get("targets"):
        return [JOINT_LOSS, *target_metrics(comparison)]
    return ["accuracy", "log_loss"]


def metric_words(metric: str) -> str:
    """`age mean absolute error`."""
    return metric.replace(".", " ").replace("_", " ")
