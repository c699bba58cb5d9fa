"""How good probabilities are by their labels: log-loss, accuracy, and log-loss once they are no longer too sure.

Knows probabilities and labels, nothing of what gave them.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SelectionMetric = Literal["calibrated_log_loss", "log_loss", "accuracy"]
HOTTEST = 10.0
_DECIMALS = 3  # of a temperature
_LEAST_PROBABILITY = 1e-15  # of a label, or one mistake made in full confidence would cost infinitely much


def log_losses(probabilities: Floats, labels: Ints) -> Floats:
    """The log-loss `(N,)` of each image, in nats."""
    of_label = probabilities[np.arange(len(labels)), labels]
    costs: Floats = -np.log(np.clip(of_label, _LEAST_PROBABILITY, 1))
    return costs


def image_costs(probabilities: Floats, labels: Ints, weights: Floats, *, metric: SelectionMetric) -> Floats:
    """What each image costs by a metric, `(N,)`: its log-loss, or 1 where the likeliest class is another; times its
    weight. Their mean is what the least is sought of."""
    if metric == "accuracy":
        wrong: Floats = (probabilities.argmax(axis=1) != labels) * weights
        return wrong
    if metric == "calibrated_log_loss":
        probabilities = softened(probabilities, fit_temperature(probabilities, labels, weights))
    return log_losses(probabilities, labels) * weights


def score(probabilities: Floats, labels: Ints, weights: Floats) -> dict[str, float]:
    """`val_log_loss`, `val_accuracy`, `val_calibrated_log_loss`, as a row of a history has them; `(N,)` weights have
    the mean 1."""
    calibrated = image_costs(probabilities, labels, weights, metric="calibrated_log_loss")
    return {
        "val_log_loss": float((log_losses(probabilities, labels) * weights).mean()),
        "val_accuracy": float(((probabilities.argmax(axis=1) == labels) * weights).mean()),
        "val_calibrated_log_loss": float(calibrated.mean()),
    }


def scores_of(row: Mapping[str, float]) -> dict[str, float]:
    """What `score` gave, out of a row with more in it."""
    return {name: value for name, value in row.items() if name.startswith("val_")}


def cost_of(row: dict[str, float], metric: SelectionMetric) -> float:
    """What a row with the scores of `score` costs by a metric: the least is the best."""
    return -row["val_accuracy"] if metric == "accuracy" else row[f"val_{metric}"]


def fit_temperature(probabilities: Floats, labels: Ints, weights: Floats) -> float:
    """By what logits are to be divided so that the mean log-loss is least; 1 where the classifier is not too sure.

    Never below 1: who is not sure enough on a few easy images stays so.

    Args:
        probabilities: `(N, K)`, of a sigmoid or a softmax.
        labels: `(N,)`.
        weights: `(N,)`, what each image counts.

    Returns:
        From 1 to `HOTTEST`, in thousandths.

    Source:
        Temperature scaling: Guo et al. 2017, arXiv:1706.04599.
    """

    def cost(log_temperature: float) -> float:
        softer = softened(probabilities, float(np.exp(log_temperature)))
        return float((log_losses(softer, labels) * weights).mean())

    found = minimize_scalar(cost, bounds=(0.0, np.log(HOTTEST)), method="bounded", options={"xatol": 1e-5})
    temperature = round(float(np.exp(found.x)), _DECIMALS)
    return temperature if cost(float(np.log(temperature))) < cost(0.0) else 1.0


def softened(probabilities: Floats, temperature: float) -> Floats:
    """The probabilities `(N, K)` of logits that were divided by a temperature; 1 gives them as they are."""
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softer: Floats = powers / powers.sum(axis=1, keepdims=True)
    return softer
