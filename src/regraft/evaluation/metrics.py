"""The metrics of one model on one set of images: a table of functions.

Knows arrays of probabilities and labels: no table of predictions, no split, no interval, no figure.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CALIBRATION_BINS = 15  # as in Guo et al. 2017


class Metric(NamedTuple):
    """One row of `METRICS`.

    Attributes:
        function: `(N, K)` float64 probabilities and `(N,)` int64 labels to a float; NaN where the images do
            not define it.
        higher_is_better: Whether the best value is the highest.
        is_headline: Whether the report's first table shows it.
        title: How people call it.
        is_fraction: Whether it is a fraction in [0, 1] that reads well as a percentage.
    """

    function: Callable[[FloatArray, IntArray], float]
    higher_is_better: bool
    is_headline: bool
    title: str
    is_fraction: bool


def accuracy(probabilities: FloatArray, labels: IntArray) -> float:
    """Fraction of images whose most probable class is the label.

    Args:
        probabilities: `(N, K)` float64, rows sum to 1. Of equal probabilities the first class counts as
            predicted.
        labels: `(N,)` int64 in [0, K).

    Returns:
        A fraction in [0, 1].

    Raises:
        ValueError: If N is 0, the shapes do not fit, a row does not sum to 1, or a label is outside [0, K).
    """
    check_scores(probabilities, labels)
    return float(sklearn_metrics.accuracy_score(labels, predicted_labels(probabilities)))


def balanced_accuracy(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean recall over the classes that occur in the labels; arguments and errors as `accuracy`."""
    check_scores(probabilities, labels)
    recalls = sklearn_metrics.recall_score(
        labels, predicted_labels(probabilities), labels=np.unique(labels), average="macro", zero_division=0.0
    )
    return float(recalls)


def macro_f1(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean F1 over the classes that occur in labels or predictions; arguments and errors as `accuracy`."""
    check_scores(probabilities, labels)
    predicted = predicted_labels(probabilities)
    return float(sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0.0))


def roc_auc(probabilities: FloatArray, labels: IntArray) -> float:
    """Area under the ROC curve: of class 1 for two classes, else the mean of each class against the rest.

    Args:
        probabilities: `(N, K)` float64, rows sum to 1.
        labels: `(N,)` int64 in [0, K).

    Returns:
        A fraction in [0, 1]; NaN if one of the K classes has no image, for then it is not defined.

    Raises:
        ValueError: As `accuracy`.
    """
    check_scores(probabilities, labels)
    num_classes = probabilities.shape[1]
    if len(np.unique(labels)) < num_classes:
        return float("nan")
    if num_classes == 2:
        return float(sklearn_metrics.roc_auc_score(labels, probabilities[:, 1]))
    areas = [sklearn_metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in range(num_classes)]
    return float(np.mean(areas))


def log_loss(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean negative logarithm of the label's probability, in nats; arguments and errors as `accuracy`.

    A probability of 0 counts as float64's epsilon, as in scikit-learn: at most 36.04 nats an image.
    """
    check_scores(probabilities, labels)
    return float(sklearn_metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[1])))


def brier(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean squared error of the probabilities; arguments and errors as `accuracy`.

    In [0, 1] for two classes (the error of class 1), in [0, 2] for more (summed over the classes), as in
    scikit-learn.
    """
    check_scores(probabilities, labels)
    return float(
        sklearn_metrics.brier_score_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    )


def expected_calibration_error(probabilities: FloatArray, labels: IntArray, *, num_bins: int) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins.

    Args:
        probabilities: `(N, K)` float64, rows sum to 1; the confidence is a row's highest value.
        labels: `(N,)` int64 in [0, K).
        num_bins: Bins over [0, 1]; empty bins weigh nothing.

    Returns:
        A fraction in [0, 1]; 0 is perfectly calibrated.

    Raises:
        ValueError: As `accuracy`.

    Source:
        Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    check_scores(probabilities, labels)
    bins = confidence_bins(probabilities, num_bins=num_bins)
    gaps = probabilities.max(axis=1) - (predicted_labels(probabilities) == labels)
    return float(np.abs(np.bincount(bins, weights=gaps, minlength=num_bins)).sum() / len(labels))


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, True, True, "Accuracy", True),
    "balanced_accuracy": Metric(balanced_accuracy, True, True, "Balanced accuracy", True),
    "macro_f1": Metric(macro_f1, True, True, "Macro F1", True),
    "roc_auc": Metric(roc_auc, True, True, "ROC AUC", True),
    "log_loss": Metric(log_loss, False, True, "Log loss (nats)", False),
    "brier": Metric(brier, False, False, "Brier score", False),
    "expected_calibration_error": Metric(
        partial(expected_calibration_error, num_bins=CALIBRATION_BINS),
        False,
        False,
        "Calibration error",
        True,
    ),
}


def per_class_table(
    probabilities: FloatArray, labels: IntArray, label_names: Sequence[str]
) -> list[dict[str, str | int | float | None]]:
    """Precision, recall and F1 of each class.

    Args:
        probabilities: `(N, K)` float64, rows sum to 1.
        labels: `(N,)` int64 in [0, K).
        label_names: K names, in the order of the classes.

    Returns:
        A row a class, in that order: `label_name`, `precision`, `recall`, `f1` (None where 0 / 0: nothing was
        predicted as the class, no image is of the class, or both) and `support` (images of the class).

    Raises:
        ValueError: As `accuracy`.
    """
    check_scores(probabilities, labels)
    columns = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted_labels(probabilities), labels=range(len(label_names)), zero_division=np.nan
    )
    table = pd.DataFrame(dict(zip(("precision", "recall", "f1", "support"), columns, strict=True)))
    return [
        {
            "label_name": name,
            **{key: _none_if_nan(row[key]) for key in ("precision", "recall", "f1")},
            "support": int(row["support"]),
        }
        for name, (_, row) in zip(label_names, table.iterrows(), strict=True)
    ]


def confusion_matrix(probabilities: FloatArray, labels: IntArray) -> IntArray:
    """`(K, K)` int64 counts: row the label, column the prediction; arguments and errors as `accuracy`."""
    check_scores(probabilities, labels)
    matrix = sklearn_metrics.confusion_matrix(
        labels, predicted_labels(probabilities), labels=range(probabilities.shape[1])
    )
    return np.asarray(matrix, dtype=np.int64)


def predicted_labels(probabilities: FloatArray) -> IntArray:
    """`(N,)` int64: the most probable class of each row, the first of equals."""
    predicted: IntArray = probabilities.argmax(axis=1)
    return predicted


def confidence_bins(probabilities: FloatArray, *, num_bins: int) -> IntArray:
    """`(N,)` int64 in [0, num_bins): equal-width bins of each row's highest value, lower edges inclusive."""
    bins: IntArray = np.minimum((probabilities.max(axis=1) * num_bins).astype(np.int64), num_bins - 1)
    return bins


def check_scores(probabilities: FloatArray, labels: IntArray) -> None:
    """Raise ValueError, with all faults, unless these are probabilities of K classes and labels of them."""
    if probabilities.ndim != 2 or labels.ndim != 1 or len(probabilities) != len(labels):
        shapes = f"{probabilities.shape} and {labels.shape}"
        raise ValueError(f"probabilities and labels have shapes {shapes}; expected (N, K) and (N,)")
    if len(labels) == 0:
        raise ValueError("no images: a metric needs at least one")
    faults = []
    off = np.flatnonzero(~(np.abs(probabilities.sum(axis=1) - 1) < 1e-6) | (probabilities < 0).any(axis=1))
    if len(off):
        faults.append(
            f"{len(off)} rows are no probabilities (first: row {off[0]}: {probabilities[off[0]].tolist()}); "
            "expected values in [0, 1] that sum to 1"
        )
    num_classes = probabilities.shape[1]
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        faults.append(f"{len(outside)} labels are outside [0, {num_classes}) (first: {outside[0]})")
    if faults:
        raise ValueError("; ".join(faults))


def _none_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)
