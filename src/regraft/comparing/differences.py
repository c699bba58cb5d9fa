"""How far models differ on test from the chosen one, and which differences are real though many are looked at.

Knows answers, their judge and groups; chooses nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from regraft.comparing.task import Judge
from regraft.comparing.tried import Tried
from regraft.evaluation.intervals import Bootstrap
from regraft.registry.paired import compare_changes


def differences_to_first(
    ordered: Sequence[Tried],
    images: pd.DataFrame,
    judge: Judge,
    groups: Sequence[str | None] | None,
    bootstrap: Bootstrap,
) -> dict[str, dict[str, Any]]:
    """Each other model's score on test less that of the first, the chosen one, corrected for their number.

    Intervals are at confidence 1 − (1 − c) / m, m comparisons (Bonferroni); p-values of the sign-flip test are
    adjusted by Holm's method. A difference is clear where both say so.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    chosen, *others = ordered
    scores = {one.label: judge.image_scores(one.probabilities["test"], images) for one in ordered}
    changes = {one.label: scores[one.label] - scores[chosen.label] for one in others}
    found = {
        label: compare_changes(
            change,
            groups=groups,
            num_resamples=bootstrap.num_resamples,
            confidence=1 - (1 - bootstrap.confidence) / len(others),
            seed=bootstrap.seed,
        )
        for label, change in changes.items()
    }
    adjusted = holm({label: result.p_value for label, result in found.items()})
    return {
        label: {
            "value": result.mean,
            "low": result.low,
            "high": result.high,
            "p_value": result.p_value,
            "adjusted_p_value": adjusted[label],
            "is_clear": bool(
                (result.low > 0 or result.high < 0) and adjusted[label] < 1 - bootstrap.confidence
            ),
            **judge.count_changes(changes[label]),
        }
        for label, result in found.items()
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values: the smallest times their number, the next times one less, never falling, at most 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, value * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted
