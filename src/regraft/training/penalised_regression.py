"""Penalised logistic regression as a problem of optimisation: its loss, its gradient, its solution.

Knows arrays alone: neither how features are scaled nor how the penalty is chosen.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AnyFloats = NDArray[np.floating[Any]]  # float32 or float64


@dataclass(frozen=True)
class PenalisedRegression:
    """Mean weighted cross-entropy + penalty / 2 · ‖weight‖²; parameters are `(O, D + 1)`, the bias last.

    Attributes:
        features: `(N, D)`; products are computed in their type.
        targets: `(N, K)` class probabilities, rows sum to 1; O is 1 for two classes, else K.
        weights: `(N,)` what each row's loss counts, mean 1.
        penalty: Of the weights, not of the bias.
    """

    features: AnyFloats
    targets: Floats
    weights: Floats
    penalty: float

    def solve(self, tolerance: float, max_iterations: int, start: Floats | None = None) -> tuple[Floats, int]:
        """Parameters `(O, D + 1)` and the number of iterations."""
        num_classes = self.targets.shape[1]
        shape = (1 if num_classes == 2 else num_classes, self.features.shape[1] + 1)
        result = minimize(
            lambda flat: self.objective(flat.reshape(shape)),
            (np.zeros(shape) if start is None else start).ravel(),
            jac=True,
            method="L-BFGS-B",
            # ftol 0: the gradient alone decides, so that "converged" means one thing.
            options={
                "maxiter": max_iterations,
                "maxfun": 2 * max_iterations,
                "gtol": tolerance,
                "ftol": 0.0,
                "maxcor": 20,
            },
        )
        return result.x.reshape(shape), int(result.nit)

    def objective(self, parameters: Floats) -> tuple[float, Floats]:
        """The loss and its gradient, flattened."""
        weight = parameters[:, :-1]
        losses, residual = self._losses(_logits(self.features, parameters))
        loss = float(self.weights @ losses) / len(losses) + 0.5 * self.penalty * float((weight**2).sum())
        residual *= self.weights[:, None] / len(losses)
        slopes = residual.T.astype(self.features.dtype) @ self.features + self.penalty * weight
        return loss, np.concatenate([slopes, residual.sum(axis=0)[:, None]], axis=1).ravel()

    def _losses(self, logits: Floats) -> tuple[Floats, Floats]:
        """Each row's cross-entropy `(N,)`, and its derivative by the logits `(N, O)`."""
        if logits.shape[1] > 1:
            log_probabilities = _log_probabilities(logits)
            return -(self.targets * log_probabilities).sum(axis=1), np.exp(log_probabilities) - self.targets
        of_second = self.targets[:, 1:]  # two classes at half the arithmetic: small probes are bound by it
        losses = np.logaddexp(0, logits) - of_second * logits
        return losses[:, 0], expit(logits) - of_second


def log_softmax(features: AnyFloats, parameters: Floats) -> Floats:
    """Log-probabilities `(N, K)` of a linear layer `(O, D + 1)`; a single output is the logit of the second class."""
    return _log_probabilities(_logits(features, parameters))


def _logits(features: AnyFloats, parameters: Floats) -> Floats:
    result: Floats = features @ parameters[:, :-1].T.astype(features.dtype) + parameters[:, -1]
    return result


def _log_probabilities(logits: Floats) -> Floats:
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
