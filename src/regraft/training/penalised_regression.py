"""Penalised logistic regression as a problem of optimisation: its loss, its gradient, its solution.

Knows arrays alone: neither how features are scaled nor how the penalty is chosen.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from regraft.training.standardised_rows import AnyFloats, Floats, Rows, blocks_of


@dataclass(frozen=True)
class PenalisedRegression:
    """Mean weighted cross-entropy + penalty / 2 · ‖weight‖²; parameters are `(O, D + 1)`, the bias last.

    Attributes:
        features: `(N, D)`; products are computed in their type.
        targets: `(N, K)` class probabilities, rows sum to 1; O is 1 for two classes, else K.
        weights: `(N,)` what each row's loss counts, mean 1.
        penalty: Of the weights, not of the bias.
    """

    features: Rows
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
        loss, slopes, of_bias = 0.0, np.zeros(weight.shape), np.zeros(len(weight))
        for part, block in blocks_of(self.features):
            weights = self.weights[part]
            losses, residual = _losses(_logits(block, parameters), self.targets[part])
            loss += float(weights @ losses)
            residual *= weights[:, None] / len(self.targets)
            slopes += residual.T.astype(block.dtype) @ block
            of_bias += residual.sum(axis=0)
        loss = loss / len(self.targets) + 0.5 * self.penalty * float((weight**2).sum())
        gradient = np.concatenate([slopes + self.penalty * weight, of_bias[:, None]], axis=1)
        return loss, gradient.ravel()


def _losses(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Each row's cross-entropy `(N,)`, and its derivative by the logits `(N, O)`."""
    if logits.shape[1] > 1:
        log_probabilities = _log_probabilities(logits)
        return -(targets * log_probabilities).sum(axis=1), np.exp(log_probabilities) - targets
    of_second = targets[:, 1:]  # two classes at half the arithmetic: small probes are bound by it
    losses = np.logaddexp(0, logits) - of_second * logits
    return losses[:, 0], expit(logits) - of_second


def log_softmax(features: Rows, parameters: Floats) -> Floats:
    """Log-probabilities `(N, K)` of a linear layer `(O, D + 1)`; a single output is the logit of the second class."""
    num_outputs = len(parameters)
    result = np.empty((len(features), 2 if num_outputs == 1 else num_outputs))
    for part, block in blocks_of(features):
        result[part] = _log_probabilities(_logits(block, parameters))
    return result


def _logits(features: AnyFloats, parameters: Floats) -> Floats:
    result: Floats = features @ parameters[:, :-1].T.astype(features.dtype) + parameters[:, -1]
    return result


def _log_probabilities(logits: Floats) -> Floats:
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
