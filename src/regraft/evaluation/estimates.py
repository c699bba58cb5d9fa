"""A metric with its interval, made from its values on resamples of the images.

Knows numbers: no probability, no label, nothing of how resamples are drawn.
"""

from dataclasses import dataclass

import numpy as np

from regraft.evaluation.metrics import FloatArray
from regraft.evaluation.reweighted import ValuesOfWeights


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval.

    Attributes:
        value: The metric on all images; None where they do not define it.
        low: Lower end of the interval; None where too few resamples define the metric.
        high: Upper end.
        reason: Why something is missing or left out, as a sentence; None if nothing is.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None

    def as_dict(self) -> dict[str, float | str | None]:
        """For JSON: `value`, `low`, `high`, and `reason` if there is one."""
        numbers: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return numbers if self.reason is None else {**numbers, "reason": self.reason}


@dataclass(frozen=True)
class Measured:
    """A metric of one model on N images.

    Attributes:
        value: On all of them; NaN where they do not define it.
        of_weights: `(N, R)` float64 weights, see `resample_weights` of `intervals`, to the metric's `(R,)` float64
            values; NaN where that is not defined.
        undefined: What is so of images that do not define it.
        lacking: What such resamples do.
    """

    value: float
    of_weights: ValuesOfWeights
    undefined: str = "a class has none"
    lacking: str = "lack a class"


def estimate(value: float, resampled: FloatArray, confidence: float, measured: Measured) -> Estimate:
    """Percentiles over the resamples that define the metric; no interval if that is under half of them."""
    if np.isnan(value):
        return Estimate(None, None, None, f"not defined on these images: {measured.undefined}")
    is_defined = ~np.isnan(resampled)
    num_left_out = int((~is_defined).sum())
    of_all = f"{num_left_out} of {len(resampled)} resamples {measured.lacking}"
    if num_left_out * 2 > len(resampled):
        return Estimate(float(value), None, None, f"no interval: {of_all}")
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[is_defined], [tail, 1 - tail])
    left_out = f"{of_all} and are left out"
    return Estimate(float(value), float(low), float(high), left_out if num_left_out else None)
