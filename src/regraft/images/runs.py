"""Runs: where, in a numbered sequence of images, one series ends and the next begins.

Knows thumbnails in their order only. A border counts if no border as strong is found in the same images shuffled.
"""

import heapq
from typing import Final

import numpy as np
import pandas as pd
from scipy.special import ndtri

_QUANTILES: Final = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
_NUM_COMPONENTS: Final = 16
_NUM_SHUFFLES: Final = 12
_MARGIN: Final = 1.1  # over the highest of them: of 60 sequences without a border, 0 to 3 were then cut
_RIDGE: Final = 0.05


def cut_into_runs(
    thumbnails: np.ndarray, labels: np.ndarray, generator: np.random.Generator
) -> np.ndarray | None:
    """Cut a sequence where tone or layout of the images changes for good.

    Neighbouring runs are merged, the most alike first (Ward), until the next merge would cost more than any
    merge in the same images shuffled.

    Args:
        thumbnails: `(N, S, S)` uint8 in the order of the sequence.
        labels: `(N,)` ints; what differs between classes is taken out first, so that a listing sorted by
            class is not cut into its classes.
        generator: Shuffles.

    Returns:
        `(N,)` int64, the number of the run, from 0 up along the sequence; None if it is one run.
    """
    series = _describe(thumbnails, labels)
    border = _MARGIN * max(
        max(cost for cost, _ in _merge(series[generator.permutation(len(series))]))
        for _ in range(_NUM_SHUFFLES)
    )
    is_start = np.zeros(len(series), np.int64)
    highest = 0.0
    for cost, start in _merge(series):
        highest = max(highest, cost)  # merging two unlike runs can make the next merge cheap
        if highest > border:
            is_start[start] = 1
    return np.cumsum(is_start) if is_start.any() else None


def _describe(thumbnails: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`(N, D)`: tones and the profiles' main components, as ranks, in units of their change between neighbours."""
    count = len(thumbnails)
    tones, profiles = [], []
    for start in range(0, count, 4096):
        block = thumbnails[start : start + 4096].astype(np.float32)
        tones.append(np.quantile(block[:, ::2, ::2].reshape(len(block), -1), _QUANTILES, axis=1).T)
        profile = np.concatenate([np.median(block, axis=2), np.median(block, axis=1)], axis=1)
        profile -= profile.mean(axis=1, keepdims=True)
        profiles.append(profile / np.maximum(profile.std(axis=1, keepdims=True), 2))
    profile = np.concatenate(profiles)
    profile -= profile.mean(axis=0)
    _, vectors = np.linalg.eigh(profile.T @ profile)
    values = np.concatenate([np.concatenate(tones), profile @ vectors[:, -_NUM_COMPONENTS:]], axis=1)
    ranks = ndtri((pd.DataFrame(values).rank().to_numpy() - 0.5) / count)  # one cracked cell is no border
    for label in np.unique(labels):
        ranks[labels == label] -= ranks[labels == label].mean(axis=0)
    steps = np.diff(ranks, axis=0) / np.sqrt(2)
    covariance = np.cov(steps.T)
    covariance += np.eye(len(covariance)) * (np.trace(covariance) / len(covariance) * _RIDGE + 1e-9)
    whitened: np.ndarray = ranks @ np.linalg.cholesky(np.linalg.inv(covariance))
    return whitened


def _merge(series: np.ndarray) -> list[tuple[float, int]]:
    """All merges of neighbours, in order: what each costs, and the start of the run that it ends."""
    count = len(series)
    mean, size = series.astype(np.float64), np.ones(count)
    before, after = np.arange(-1, count - 1), np.arange(1, count + 1)
    version = [0] * count
    is_alive = [True] * count

    def cost(left: int, right: int) -> float:
        gap = mean[left] - mean[right]
        return float(size[left] * size[right] / (size[left] + size[right]) * (gap @ gap))

    queue = [(cost(i, i + 1), i, i + 1, 0, 0) for i in range(count - 1)]
    heapq.heapify(queue)
    merges = []
    while queue:
        price, left, right, left_version, right_version = heapq.heappop(queue)
        if not (is_alive[left] and is_alive[right]):
            continue
        if (version[left], version[right]) != (left_version, right_version):
            continue
        merges.append((price, right))
        total = size[left] + size[right]
        mean[left] = (mean[left] * size[left] + mean[right] * size[right]) / total
        size[left] = total
        is_alive[right] = False
        version[left] += 1
        next_, previous = int(after[right]), int(before[left])
        after[left] = next_
        if next_ < count:
            before[next_] = left
            heapq.heappush(queue, (cost(left, next_), left, next_, version[left], version[next_]))
        if previous >= 0:
            heapq.heappush(queue, (cost(previous, left), previous, left, version[previous], version[left]))
    return merges
