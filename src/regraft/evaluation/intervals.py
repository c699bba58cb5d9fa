"""How far a metric, or the difference of two models, could be off by chance: percentile bootstrap intervals.

Knows arrays only: no table of predictions, no split, no figure. Whole groups are drawn where images of a
group are alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regraft.evaluation.estimates import Estimate, Measured, estimate
from regraft.evaluation.metrics import METRICS, FloatArray, IntArray, check_scores
from regraft.evaluation.reweighted import prepare
from regraft.training.units import group_numbers

_CHUNK_VALUES = 1 << 21  # resamples × images held at once: 16 MiB a float64 array


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
    measured = {
        model: {metric: measured_classes(metric, probabilities, labels) for metric in metrics}
        for model, probabilities in models.items()
    }
    return bootstrap_measured(measured, len(labels), bootstrap=bootstrap, groups=groups)


def measured_classes(metric: str, probabilities: FloatArray, labels: IntArray) -> Measured:
    """A metric of `METRICS` on these images, `(N, K)` probabilities and `(N,)` labels, and on resamples of them."""
    value = METRICS[metric].function(probabilities, labels)
    return Measured(value, prepare(metric, probabilities, labels))


def bootstrap_measured(
    models: Mapping[str, Mapping[str, Measured]],
    num_images: int,
    *,
    bootstrap: Bootstrap,
    groups: Sequence[str | None] | None,
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Estimate]]:
    """Intervals of anything measured on the same images, every model and metric on the same resamples.

    Args:
        models: By model and metric, the same metrics of each model.
        num_images: N, at least 1.
        bootstrap: How to resample.
        groups: As in `bootstrap_intervals`.

    Returns:
        Estimates by model and metric; and by metric the last model minus the first.
    """
    metrics = list(next(iter(models.values())))
    chunks: dict[str, dict[str, list[FloatArray]]] = {model: {m: [] for m in metrics} for model in models}
    for weights in resample_weights(num_images, bootstrap=bootstrap, groups=groups):
        for model, of_metric in models.items():
            for metric, measured in of_metric.items():
                chunks[model][metric].append(measured.of_weights(weights))
    resampled = {
        model: {metric: np.concatenate(parts) for metric, parts in of_metric.items()}
        for model, of_metric in chunks.items()
    }
    confidence = bootstrap.confidence
    estimates = {
        model: {m: estimate(one.value, resampled[model][m], confidence, one) for m, one in of_metric.items()}
        for model, of_metric in models.items()
    }
    names = list(models)
    first, last = names[0], names[-1]
    difference = {
        m: estimate(
            models[last][m].value - models[first][m].value,
            resampled[last][m] - resampled[first][m],
            confidence,
            models[last][m],
        )
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
