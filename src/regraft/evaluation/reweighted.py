"""The metrics of `METRICS` for many weightings of the same images at once: what makes the bootstrap fast.

Knows what `metrics` knows. A weighting is how often each image was drawn; nothing here draws.
"""

from collections.abc import Callable

import numpy as np

from regraft.evaluation.metrics import (
    CALIBRATION_BINS,
    METRICS,
    BoolArray,
    FloatArray,
    IntArray,
    confidence_bins,
    predicted_labels,
)

ValuesOfWeights = Callable[[FloatArray], FloatArray]


def prepare(name: str, probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Make the function that gives a metric for weightings of these images.

    Args:
        name: A key of `METRICS`. One without a formula here is computed resample by resample: right, and
            slow.
        probabilities: `(N, K)` float64, rows sum to 1.
        labels: `(N,)` int64 in [0, K).

    Returns:
        A function of `(N, R)` float64 weights, each column whole numbers with a sum above 0, to `(R,)`
        float64: the metric of the images, each repeated as often as its weight says; NaN where that is not
        defined. Images lie along the first axis because picking rows of memory is several times as fast as
        picking columns.
    """
    formula = _FORMULAS.get(name)
    return _one_by_one(name, probabilities, labels) if formula is None else formula(probabilities, labels)


def _accuracy(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Weighted mean of being right."""
    return mean_of((predicted_labels(probabilities) == labels).astype(np.float64))


def _log_loss(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Weighted mean of each image's loss, clipped as scikit-learn clips it."""
    epsilon = np.finfo(np.float64).eps
    of_label = probabilities[np.arange(len(labels)), labels]
    return mean_of(-np.log(np.clip(of_label, epsilon, 1 - epsilon)))


def _brier(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Weighted mean of each image's squared error, halved for two classes."""
    errors = ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)
    return mean_of(errors / 2 if probabilities.shape[1] == 2 else errors)


def _balanced_accuracy(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Mean recall over the classes whose weight is above 0."""
    sum_by_label = _sum_by(labels, probabilities.shape[1])
    is_right = (predicted_labels(probabilities) == labels)[:, None]

    def values(weights: FloatArray) -> FloatArray:
        recalls = _divide(sum_by_label(weights * is_right), sum_by_label(weights))
        return _mean_of_defined(recalls)

    return values


def _macro_f1(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Mean of 2·TP / (support + predicted) over the classes with a weight above 0 in either."""
    predicted = predicted_labels(probabilities)
    sum_by_label = _sum_by(labels, probabilities.shape[1])
    sum_by_predicted = _sum_by(predicted, probabilities.shape[1])
    is_right = (predicted == labels)[:, None]

    def values(weights: FloatArray) -> FloatArray:
        true_positives = sum_by_label(weights * is_right)
        either = sum_by_label(weights) + sum_by_predicted(weights)
        return _mean_of_defined(_divide(2 * true_positives, either))

    return values


def _roc_auc(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Of class 1 for two classes, else the mean over each class against the rest."""
    num_classes = probabilities.shape[1]
    classes = [1] if num_classes == 2 else range(num_classes)
    areas = [_area(probabilities[:, k], labels == k) for k in classes]

    def values(weights: FloatArray) -> FloatArray:
        mean: FloatArray = np.mean([area(weights) for area in areas], axis=0)
        return mean

    return values


def _area(scores: FloatArray, is_positive: BoolArray) -> ValuesOfWeights:
    """Fraction of (positive, negative) pairs in the right order, ties half: the Mann-Whitney form."""
    negatives = np.flatnonzero(~is_positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    positives = np.flatnonzero(is_positive)
    num_below = np.searchsorted(scores[negatives], scores[positives], side="left")
    num_up_to_tie = np.searchsorted(scores[negatives], scores[positives], side="right")

    def values(weights: FloatArray) -> FloatArray:
        below = np.zeros((len(negatives) + 1, weights.shape[1]))
        np.cumsum(weights[negatives], axis=0, out=below[1:])
        of_positives = weights[positives]
        pairs_won = (of_positives * (below[num_below] + below[num_up_to_tie])).sum(axis=0) / 2
        return _divide(pairs_won, of_positives.sum(axis=0) * below[-1])

    return values


def _expected_calibration_error(probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """Sum over the bins of the weighted gap's size, over the whole weight."""
    sum_by_bin = _sum_by(confidence_bins(probabilities, num_bins=CALIBRATION_BINS), CALIBRATION_BINS)
    gaps = (probabilities.max(axis=1) - (predicted_labels(probabilities) == labels))[:, None]

    def values(weights: FloatArray) -> FloatArray:
        gap: FloatArray = np.abs(sum_by_bin(weights * gaps)).sum(axis=0)
        mean: FloatArray = gap / weights.sum(axis=0)
        return mean

    return values


def _one_by_one(name: str, probabilities: FloatArray, labels: IntArray) -> ValuesOfWeights:
    """For a metric without a formula: the metric itself on each resample."""
    function = METRICS[name].function
    rows = np.arange(len(labels))

    def values(weights: FloatArray) -> FloatArray:
        drawn = [np.repeat(rows, column.astype(np.int64)) for column in weights.T]
        return np.array([function(probabilities[index], labels[index]) for index in drawn])

    return values


def mean_of(of_image: FloatArray) -> ValuesOfWeights:
    """Weighted mean of a value an image has. No matrix product: its last bit varies with BLAS's threads."""

    def values(weights: FloatArray) -> FloatArray:
        mean: FloatArray = (weights * of_image[:, None]).sum(axis=0) / weights.sum(axis=0)
        return mean

    return values


def _sum_by(keys: IntArray, num_keys: int) -> ValuesOfWeights:
    """Make the function from `(N, R)` values to `(num_keys, R)` sums over the rows of each key."""
    order = np.argsort(keys, kind="stable")
    present, starts = np.unique(keys[order], return_index=True)

    def sums(values: FloatArray) -> FloatArray:
        of_key = np.zeros((num_keys, values.shape[1]))
        of_key[present] = np.add.reduceat(values[order], starts, axis=0)
        return of_key

    return sums


def _mean_of_defined(of_class: FloatArray) -> FloatArray:
    """`(K, R)` to `(R,)`: the mean over the classes that are not NaN."""
    mean: FloatArray = np.nanmean(of_class, axis=0)
    return mean


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """The quotient, NaN where the denominator is 0."""
    nowhere = np.full_like(numerator, np.nan)
    quotient: FloatArray = np.divide(numerator, denominator, out=nowhere, where=denominator > 0)
    return quotient


_FORMULAS: dict[str, Callable[[FloatArray, IntArray], ValuesOfWeights]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "roc_auc": _roc_auc,
    "log_loss": _log_loss,
    "brier": _brier,
    "expected_calibration_error": _expected_calibration_error,
}
