"""Who can still win: which candidates are worth the price of fine-tuning, judged by their probes.

Knows answers to images held out, and groups; fine-tunes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from regraft.comparing.task import Judge, Task
from regraft.comparing.tried import Floats, Tried
from regraft.evaluation.estimates import Measured
from regraft.evaluation.intervals import Bootstrap, bootstrap_measured
from regraft.evaluation.reweighted import mean_of
from regraft.evaluation.several.scores import facts_of

_SHARED: Final = ("label", "difference", "low", "high", "can_win")  # whatever the metric is called


@dataclass(frozen=True)
class Standing:
    """How a candidate's probe stands to the best one.

    Attributes:
        label: The candidate's.
        score: Of its probe on held-out images of train and val.
        difference: Its score less that of the best probe, on the same images.
        low: Lower end of the difference's interval, widened for the number of candidates.
        high: Upper end.
        can_win: Whether fine-tuning it could still make it the best.
        metric: What the score is called.
    """

    label: str
    score: float
    difference: float
    low: float
    high: float
    can_win: bool
    metric: str = "accuracy"

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the score stands under its metric's name."""
        return {
            "label": self.label,
            self.metric: self.score,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "can_win": self.can_win,
        }


def standing_of(row: Mapping[str, Any]) -> Standing:
    """What `Standing.as_dict` was made of."""
    (metric,) = row.keys() - set(_SHARED)
    return Standing(score=row[metric], metric=metric, **{name: row[name] for name in _SHARED})


def rank_probes(
    probes: Sequence[Tried], manifest: pd.DataFrame, task: Task, *, slack: float, bootstrap: Bootstrap
) -> list[Standing]:
    """`rank_candidates` of probes, on the images of train and val that each had not learnt from."""
    seen = manifest[manifest["split"].isin(("train", "val"))]
    names = [None if pd.isna(value) else str(value) for value in seen["group"]]
    groups = names if len(set(names) - {None}) > 1 else None
    judge = task.judge(probes, manifest)
    scores = {probe.label: judge.image_scores(probe.probabilities["held_out"], seen) for probe in probes}
    return rank_candidates(scores, groups, judge=judge, slack=slack, bootstrap=bootstrap)


def rank_candidates(
    scores: Mapping[str, Floats],
    groups: Sequence[str | None] | None,
    *,
    judge: Judge,
    slack: float,
    bootstrap: Bootstrap,
) -> list[Standing]:
    """Rank candidates by their probes' held-out scores, and say who can still win.

    A candidate is out if even an optimist would not bet on it: if the better end of the interval of its difference to
    the best probe is worse than 0 by more than `slack`. Of K candidates the intervals are at confidence
    1 − (1 − c) / (K − 1) (Bonferroni), so that all of them hold at once with confidence c.

    Args:
        scores: `(N,)` by candidate, of the same images; see `Judge.image_scores`.
        groups: Whole groups are resampled; None: images.
        judge: Says what the scores are.
        slack: By how much more fine-tuning may lift one network than another; see `Judge.allowance`.
        bootstrap: Resamples, confidence c, seed.

    Returns:
        The best probe first; of equals in the order given.
    """
    metric = judge.compared_by
    sign = 1 if facts_of(metric).higher_is_better else -1
    measured = {label: Measured(float(own.mean()), mean_of(own)) for label, own in scores.items()}
    best, *others = sorted(measured, key=lambda label: -sign * measured[label].value)
    widened = Bootstrap(
        bootstrap.num_resamples, 1 - (1 - bootstrap.confidence) / max(1, len(others)), bootstrap.seed
    )
    allowed = judge.allowance(slack, measured[best].value)
    standings = [Standing(best, measured[best].value, 0.0, 0.0, 0.0, True, metric)]
    for label in others:
        pair = {"first": {metric: measured[best]}, "second": {metric: measured[label]}}
        _, differences = bootstrap_measured(pair, len(scores[best]), bootstrap=widened, groups=groups)
        found = differences[metric]
        difference, low, high = found.value or 0.0, found.low or 0.0, found.high or 0.0
        can_win = (high if sign > 0 else -low) + allowed >= 0
        standings.append(Standing(label, measured[label].value, difference, low, high, can_win, metric))
    return standings
