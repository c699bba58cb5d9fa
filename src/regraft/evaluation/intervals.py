"""How far a metric, or the difference of two models, could be off by chance: percentile bootstrap intervals.

Knows arrays only: no table of predictions, no split, no figure. Whole groups are drawn where images of a
group are alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regraft.evaluation.metrics import METRICS, FloatArray, IntArray, check_scores
from regraft.evaluation.reweighted import prepare
from regraft.training.units import group_numbers

_CHUNK_VALUES = 1 << 21  # resamples × images held at once: 16 MiB a float64 array


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
class Bootstrap:
    """How to resample.

    Attributes:
        num_resamples: Resamples drawn; 2,000 hold the ends of a 95 % interval to about a twentieth of its
            width.
        confidence: Fraction of resamples inside the interval.
        seed: Of `numpy.random.Generator`; the same seed draws the same images for every model and metric.
    """

    num_resamples: int
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        faults = []
        if self.num_resamples < 100:
            faults.append(f"num_resamples is {self.num_resamples}; allowed are 100 and more")
        if not 0.5 <= self.confidence < 1:
            faults.append(
                f"confidence is {self.confidence}; allowed are fractions from 0.5 to below 1 (0.95)"
            )
        if faults:
            raise ValueError("; ".join(faults))


def bootstrap_intervals(
    probabilities: FloatArray,
    labels: IntArray,
    *,
    bootstrap: Bootstrap,
    groups: Sequence[str | None] | None = None,
    metrics: Sequence[str] = tuple(METRICS),
) -> dict[str, Estimate]:
    """Each metric of one model, with its percentile bootstrap interval.

    Args:
        probabilities: `(N, K)` float64, rows sum to 1.
        labels: `(N,)` int64 in [0, K).
        bootstrap: How to resample.
        groups: N group names: whole groups are drawn with replacement (the cluster bootstrap), and an image
            without a group is one of its own. None draws images.
        metrics: Keys of `METRICS`.

    Returns:
        An estimate a metric, in the order asked for.

    Raises:
        ValueError: If the arrays are no probabilities and labels, or groups is of another length.

    The calibration error grows with chance, on a resample as on few images: its interval lies a little high.

    Source:
        Efron & Tibshirani 1993, chapter 13; for groups: Davison & Hinkley 1997, section 3.8.
    """
    estimates, _ = bootstrap_models(
        {"model": probabilities}, labels, bootstrap=bootstrap, groups=groups, metrics=metrics
    )
    return estimates["model"]


def bootstrap_difference(
    first: FloatArray,
    second: FloatArray,
    labels: IntArray,
    *,
    bootstrap: Bootstrap,
    groups: Sequence[str | None] | None = None,
    metrics: Sequence[str] = tuple(METRICS),
) -> dict[str, Estimate]:
    """Each metric of the second model minus that of the first, on the same images, with a paired interval.

    Both models are measured on the same resamples, so what makes an image hard for both cancels out.
    Arguments and errors as `bootstrap_intervals`; `first` and `second` are `(N, K)` probabilities.
    """
    models = {"first": first, "second": second}
    _, difference = bootstrap_models(models, labels, bootstrap=bootstrap, groups=groups, metrics=metrics)
    return difference


def bootstrap_models(
    models: Mapping[str, FloatArray],
    labels: IntArray,
    *,
    bootstrap: Bootstrap,
    groups: Sequence[str | None] | None,
    metrics: Sequence[str] = tuple(METRICS),
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Estimate]]:
    """What `bootstrap_intervals` and `bootstrap_difference` give, for one pass over the resamples.

    Returns:
        Estimates by model and metric; and by metric the last model minus the first.
    """
    for probabilities in models.values():
        check_scores(probabilities, labels)
    functions = {
        model: {metric: prepare(metric, probabilities, labels) for metric in metrics}
        for model, probabilities in models.items()
    }
    chunks: dict[str, dict[str, list[FloatArray]]] = {model: {m: [] for m in metrics} for model in models}
    for weights in resample_weights(len(labels), bootstrap=bootstrap, groups=groups):
        for model, of_metric in functions.items():
            for metric, function in of_metric.items():
                chunks[model][metric].append(function(weights))
    resampled = {
        model: {metric: np.concatenate(parts) for metric, parts in of_metric.items()}
        for model, of_metric in chunks.items()
    }
    values = {
        model: {metric: METRICS[metric].function(probabilities, labels) for metric in metrics}
        for model, probabilities in models.items()
    }
    names = list(models)
    first, last = names[0], names[-1]
    confidence = bootstrap.confidence
    estimates = {
        model: {m: _estimate(values[model][m], resampled[model][m], confidence) for m in metrics}
        for model in models
    }
    difference = {
        m: _estimate(values[last][m] - values[first][m], resampled[last][m] - resampled[first][m], confidence)
        for m in metrics
    }
    return estimates, difference


def resample_weights(
    num_images: int, *, bootstrap: Bootstrap, groups: Sequence[str | None] | None
) -> Iterator[FloatArray]:
    """How often each image is drawn in each resample.

    Args:
        num_images: N.
        bootstrap: How many resamples, and the seed.
        groups: As in `bootstrap_intervals`.

    Yields:
        `(N, R)` float64 whole numbers, a column a resample, some resamples at a time; `num_resamples` columns
        in all. A column sums to N if images are drawn; if groups are, to the images of the groups drawn.

    Raises:
        ValueError: If groups is of another length than N.
    """
    unit_of_image = unit_numbers(num_images, groups)
    num_units = int(unit_of_image.max()) + 1
    generator = np.random.default_rng(bootstrap.seed)
    chunk = max(1, _CHUNK_VALUES // num_images)
    for start in range(0, bootstrap.num_resamples, chunk):
        rows = min(chunk, bootstrap.num_resamples - start)
        drawn = generator.integers(0, num_units, size=(rows, num_units))
        cells = drawn + num_units * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * num_units).reshape(rows, num_units)
        yield counts.T.astype(np.float64)[unit_of_image]


def unit_numbers(num_images: int, groups: Sequence[str | None] | None) -> IntArray:
    """`(N,)` int64: the number of each image's group, from 0; an image without a group is one of its own.

    Raises:
        ValueError: If groups is of another length than N.
    """
    if groups is None:
        return np.arange(num_images)
    if len(groups) != num_images:
        raise ValueError(
            f"{len(groups)} groups for {num_images} images; give one an image, None where it has none"
        )
    return group_numbers(groups)


def _estimate(value: float, resampled: FloatArray, confidence: float) -> Estimate:
    """Percentiles over the resamples that define the metric; no interval if that is under half of them."""
    if np.isnan(value):
        return Estimate(None, None, None, "not defined on these images: a class has none")
    is_defined = ~np.isnan(resampled)
    num_left_out = int((~is_defined).sum())
    if num_left_out * 2 > len(resampled):
        reason = f"no interval: {num_left_out} of {len(resampled)} resamples lack a class"
        return Estimate(float(value), None, None, reason)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled[is_defined], [tail, 1 - tail])
    left_out = f"{num_left_out} of {len(resampled)} resamples lack a class and are left out"
    return Estimate(float(value), float(low), float(high), left_out if num_left_out else None)
