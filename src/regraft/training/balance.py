"""Balance: what each image counts, so that classes of unequal size weigh the same.

Knows labels only: no model, no pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Balance = Literal["none", "class_weights", "balanced_sampler"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """What each image of a split counts; all 1 where classes are taken as they are.

    Attributes:
        weights: `(N,)` float64, mean 1: of its loss.
        draws: `(N,)` float64, mean 1: how often an epoch shows it.
    """

    weights: Floats
    draws: Floats


def even_weights(labels: Ints) -> Floats:
    """`(N,)` float64 with mean 1 that give every class present the same sum.

    Source:
        scikit-learn's `class_weight="balanced"`, after King and Zeng 2001, Logistic regression in rare events data.
    """
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Floats = len(labels) / (len(counts) * counts[numbers])
    return weights


def learning_shares(labels: Ints, balance: Balance) -> Shares:
    """What each image counts while a model learns by updates."""
    ones, even = np.ones(len(labels)), even_weights(labels)
    return {
        "none": Shares(ones, ones),
        "class_weights": Shares(even, ones),
        "balanced_sampler": Shares(ones, even),
    }[balance]


def measuring_weights(labels: Ints, balance: Balance) -> Floats:
    """`(N,)` what each image counts where the expectation is what matters: a solved head, or a score on `val`.

    Weights and a sampler ask for the same there: that every class counts the same.
    """
    return np.ones(len(labels)) if balance == "none" else even_weights(labels)


def draw_order(draws: Floats, generator: np.random.Generator) -> Ints:
    """The images of an epoch in their order, as many as there are.

    Args:
        draws: `(N,)` how often each is to come on average, mean 1. All 1: each comes once.
        generator: Shuffles. Who of a class comes once more than others is drawn anew each time.

    Returns:
        `(N,)` int64 in [0, N): each image the whole number below or above its `draws` times, and a class (images of
        equal `draws`) as often as these add up to, give or take one.
    """
    order = generator.permutation(len(draws))
    if (draws == 1).all():
        return order
    order = order[np.argsort(draws[order], kind="stable")]
    ends = np.floor(np.cumsum(draws[order]) + 0.5).astype(np.int64)
    return generator.permutation(np.repeat(order, np.diff(ends, prepend=0)))
