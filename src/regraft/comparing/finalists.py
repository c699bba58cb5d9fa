"""Who can still win: which candidates are worth the price of fine-tuning, judged by their probes.

Knows held-out probabilities and groups; fine-tunes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from regraft.comparing.tried import Floats, Tried
from regraft.evaluation.intervals import Bootstrap, bootstrap_difference
from regraft.evaluation.metrics import IntArray, accuracy


@dataclass(frozen=True)
class Standing:
    """How a candidate's probe stands to the best one.

    Attributes:
        label: The candidate's.
        accuracy: Of its probe on held-out images of train and val.
        difference: Its accuracy less that of the best probe, on the same images.
        low: Lower end of the difference's interval, widened for the number of candidates.
        high: Upper end.
        can_win: Whether fine-tuning it could still make it the best.
    """

    label: str
    accuracy: float
    difference: float
    low: float
    high: float
    can_win: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rank_probes(
    probes: Sequence[Tried], manifest: pd.DataFrame, column: str, *, slack: float, bootstrap: Bootstrap
) -> list[Standing]:
    """`rank_candidates` of probes, on the images of train and val that each had not learnt from."""
    seen = manifest[manifest["split"].isin(("train", "val"))]
    names = [None if pd.isna(value) else str(value) for value in seen["group"]]
    groups = names if len(set(names) - {None}) > 1 else None
    held_out = {probe.label: probe.probabilities["held_out"] for probe in probes}
    labels = seen[column].to_numpy(np.int64)
    return rank_candidates(held_out, labels, groups, slack=slack, bootstrap=bootstrap)


def rank_candidates(
    held_out: Mapping[str, Floats],
    labels: IntArray,
    groups: Sequence[str | None] | None,
    *,
    slack: float,
    bootstrap: Bootstrap,
) -> list[Standing]:
    """Rank candidates by their probes' held-out accuracy, and say who can still win.

    A candidate is out if even an optimist would not bet on it: if the upper end of the interval of its difference to
    the best probe, plus `slack`, lies below 0. Of K candidates the intervals are at confidence 1 − (1 − c) / (K − 1)
    (Bonferroni), so that all of them hold at once with confidence c.

    Args:
        held_out: `(N, K)` probabilities by candidate, on the same images.
        labels: `(N,)` int64.
        groups: Whole groups are resampled; None: images.
        slack: By how much more fine-tuning may lift one network than another, a fraction of accuracy.
        bootstrap: Resamples, confidence c, seed.

    Returns:
        The best probe first; of equals in the order given.
    """
    scores = {label: accuracy(probabilities, labels) for label, probabilities in held_out.items()}
    best, *others = sorted(scores, key=lambda label: -scores[label])
    widened = Bootstrap(
        bootstrap.num_resamples, 1 - (1 - bootstrap.confidence) / max(1, len(others)), bootstrap.seed
    )
    standings = [Standing(best, scores[best], 0.0, 0.0, 0.0, True)]
    for label in others:
        found = bootstrap_difference(
            held_out[best], held_out[label], labels, bootstrap=widened, groups=groups, metrics=("accuracy",)
        )["accuracy"]
        difference, low, high = found.value or 0.0, found.low or 0.0, found.high or 0.0
        standings.append(Standing(label, scores[label], difference, low, high, can_win=high + slack >= 0))
    return standings
