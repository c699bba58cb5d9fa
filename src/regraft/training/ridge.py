"""Ridge regression on frozen features: several numbers at once, solved exactly, their one penalty cross-validated.

Knows arrays alone; no network is run here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from regraft.training.linear_probe import standardisation
from regraft.training.standardised_rows import FeatureSource, Floats, Ints, StandardisedRows

_STRONGER = (1000.0, 100.0, 10.0)  # times the strongest asked for
_STRONGEST = 1e6  # weights are 0 with it
_LEAST_NOISE = 1e-3  # of a number's deviation: what is fitted better than that is known well enough


@dataclass(frozen=True)
class Ridge:
    """A solved linear layer on raw features that gives numbers on the scale of what was learnt from.

    Attributes:
        weight: `(T, D)` float64; a number is `mean + scale * (weight @ features + bias)`.
        bias: `(T,)` float64.
        mean: `(T,)`, of the numbers learnt from.
        scale: `(T,)`, their deviations.
        noise: `(T,)`, the root mean squared error of images held out, in units of `scale`.
        penalty: The one chosen.
        gradient_norm: Largest absolute entry of the objective's gradient at the solution.
        history: A row a penalty, from strong to weak: `penalty` and `cv_error`, the root mean squared error of images
            held out in units of `scale`, over all numbers.
    """

    weight: Floats
    bias: Floats
    mean: Floats
    scale: Floats
    noise: Floats
    penalty: float
    gradient_norm: float
    history: list[dict[str, float]]


def fit_ridge(
    features: FeatureSource,
    numbers: Floats,
    *,
    folds: Sequence[tuple[Ints, Ints]],
    penalties: Sequence[float],
    weights: Floats | None = None,
) -> Ridge:
    """Solve a least-squares regression with an L2 penalty.

    The objective is half the mean (weighted) squared error of the numbers over their deviations + penalty / 2 ·
    ‖weight‖² over features standardised as in `fit_linear_probe`; both are folded into the layer returned. The penalty
    with the least error on images held out is taken; of equals the stronger. Where that is the strongest of several,
    stronger ones are tried: numbers that the features hardly tell ask for much more than classes do.

    Args:
        features: `(N, D)` float32; many are read a few rows at a time.
        numbers: `(N, T)` float64, each column with two values at least.
        folds: Rows to learn from and rows held out, a pair a fold.
        penalties: Candidates, > 0.
        weights: `(N,)` float64, mean 1, what each row counts; all 1 if None.

    Source:
        Hoerl & Kennard 1970; all penalties of a fold from one eigendecomposition.
    """
    counted = np.ones(len(numbers)) if weights is None else weights
    mean = np.average(numbers, axis=0, weights=counted)
    scale = np.sqrt(np.average((numbers - mean) ** 2, axis=0, weights=counted))
    wanted = (numbers - mean) / scale
    rows = StandardisedRows(features, np.arange(len(features)), *standardisation(features), np.float64)
    ordered = sorted(penalties, reverse=True)
    # One thread: sums over more are rounded otherwise, and the result would depend on the machine's cores.
    with threadpool_limits(1):
        errors = _held_out_errors(rows, wanted, counted, folds, ordered)
        while len(ordered) > 1 and not errors.mean(axis=1).argmin() and ordered[0] < _STRONGEST:
            stronger = [ordered[0] * factor for factor in _STRONGER]
            further = _held_out_errors(rows, wanted, counted, folds, stronger)
            ordered, errors = [*stronger, *ordered], np.concatenate([further, errors])
        best = int(errors.mean(axis=1).argmin())
        [(weight, bias)] = _solve(rows, wanted, counted, [ordered[best]])
        gradient_norm = _gradient_norm(rows, wanted, counted, weight, bias, ordered[best])
    raw = (weight / rows.scale[:, None]).T
    return Ridge(
        weight=raw,
        bias=bias - raw @ rows.mean,
        mean=mean,
        scale=scale,
        noise=np.maximum(np.sqrt(errors[best]), _LEAST_NOISE),
        penalty=ordered[best],
        gradient_norm=gradient_norm,
        history=[
            {"penalty": penalty, "cv_error": float(np.sqrt(of_penalty.mean()))}
            for penalty, of_penalty in zip(ordered, errors, strict=True)
        ],
    )


def _held_out_errors(
    rows: StandardisedRows,
    wanted: Floats,
    counted: Floats,
    folds: Sequence[tuple[Ints, Ints]],
    penalties: Sequence[float],
) -> Floats:
    """Mean squared errors `(P, T)` of what is held out, a row a penalty."""
    squares = np.zeros((len(penalties), wanted.shape[1]))
    for learnt, held_out in folds:
        path = _solve(rows[learnt], wanted[learnt], counted[learnt], penalties)
        for place, (weight, bias) in enumerate(path):
            for part, block in rows[held_out].blocks():
                error = block @ weight + bias - wanted[held_out[part]]
                squares[place] += (counted[held_out[part], None] * error**2).sum(axis=0)
    errors: Floats = squares / counted[np.concatenate([held_out for _, held_out in folds])].sum()
    return errors


def predict_held_out(
    features: FeatureSource,
    numbers: Floats,
    *,
    folds: Sequence[tuple[Ints, Ints]],
    penalties: Sequence[float],
) -> Floats:
    """What a ridge regression on each fold's rows says of the rows held out: `(N, T)`, NaN where none did.

    A fold's penalty is the one with the least error on the *other* folds' held-out rows, so no row takes part in
    choosing the penalty that it is judged under.

    Args:
        features: `(N, D)` float32.
        numbers: `(N, T)` float64, each column with two values at least.
        folds: Rows to learn from and rows held out, a pair a fold.
        penalties: Candidates, > 0.
    """
    scale = numbers.std(axis=0)
    wanted, ordered = (numbers - numbers.mean(axis=0)) / scale, sorted(penalties, reverse=True)
    predicted = []
    with threadpool_limits(1):
        for learnt, held_out in folds:
            # Of the rows learnt from: what is rare there may be far out in a new group, as it is for a head in use.
            rows = StandardisedRows(features, learnt, *standardisation(features, learnt), np.float64)
            judged = replace(rows, rows=held_out).whole()
            path = _solve(rows, wanted[learnt], np.ones(len(learnt)), ordered)
            predicted.append(np.stack([judged @ weight + bias for weight, bias in path]))
    errors = [
        ((of_fold - wanted[held_out]) ** 2).sum(axis=(1, 2))
        for of_fold, (_, held_out) in zip(predicted, folds, strict=True)
    ]
    said = np.full(numbers.shape, np.nan)
    for fold, (_, held_out) in enumerate(folds):
        others = np.sum([error for other, error in enumerate(errors) if other != fold], axis=0)
        best = int(np.argmin(others)) if len(folds) > 1 else 0
        said[held_out] = predicted[fold][best]
    told: Floats = said * scale + numbers.mean(axis=0)
    return told


def _solve(
    rows: StandardisedRows, wanted: Floats, counted: Floats, penalties: Sequence[float]
) -> Iterator[tuple[Floats, Floats]]:
    """Weight `(D, T)` and bias `(T,)` for each penalty, by the smaller of both square matrices."""
    total = counted.sum()
    feature_mean: Floats = sum(
        (counted[part] @ block for part, block in rows.blocks()), np.zeros(rows.shape[1])
    )
    feature_mean = feature_mean / total
    wanted_mean = counted @ wanted / total
    roots = np.sqrt(counted / total)
    centred = (wanted - wanted_mean) * roots[:, None]
    num_rows, num_features = rows.shape
    if num_features <= num_rows:
        gram, products = np.zeros((num_features, num_features)), np.zeros((num_features, wanted.shape[1]))
        for part, block in rows.blocks():
            weighted = (block - feature_mean) * roots[part, None]
            gram += weighted.T @ weighted
            products += weighted.T @ centred[part]
        values, vectors = linalg.eigh(gram, overwrite_a=True, check_finite=False)
        turned = vectors.T @ products
        for penalty in penalties:
            weight = vectors @ (turned / (np.maximum(values, 0) + penalty)[:, None])
            yield weight, wanted_mean - feature_mean @ weight
        return
    whole = (rows.whole() - feature_mean) * roots[:, None]
    values, vectors = linalg.eigh(whole @ whole.T, overwrite_a=True, check_finite=False)
    turned = vectors.T @ centred
    for penalty in penalties:
        weight = whole.T @ (vectors @ (turned / (np.maximum(values, 0) + penalty)[:, None]))
        yield weight, wanted_mean - feature_mean @ weight


def _gradient_norm(
    rows: StandardisedRows, wanted: Floats, counted: Floats, weight: Floats, bias: Floats, penalty: float
) -> float:
    gradient, of_bias = penalty * weight, np.zeros_like(bias)
    for part, block in rows.blocks():
        error = (block @ weight + bias - wanted[part]) * (counted[part, None] / counted.sum())
        gradient = gradient + block.T @ error
        of_bias += error.sum(axis=0)
    return float(max(np.abs(gradient).max(), np.abs(of_bias).max()))
