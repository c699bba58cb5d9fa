"""Allotment: deals units of images out to splits, so that every class comes near its fraction in each.

Knows neither what makes images belong together nor what a split is for.
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

MIN_CLASS_IMAGES_TO_SPREAD: Final = 3
_MAX_COMPARISONS: Final = 10**8  # about a second; 44 groups and 2 classes need 10^4


def count_targets(class_sizes: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """How many images of each class each split should get.

    A class's counts are its ideal ones rounded down or up; which of them go up is decided by what each split
    is still owed from the classes before, so that the totals come out as well. A class of at least
    `MIN_CLASS_IMAGES_TO_SPREAD` images gives one to every split, for a class without one cannot be measured.

    Args:
        class_sizes: `(K,)` ints.
        fractions: One a split, of sum 1.

    Returns:
        `(K, num_splits)` int64; rows sum to `class_sizes`.
    """
    targets = np.zeros((len(class_sizes), len(fractions)), np.int64)
    owed = np.zeros(len(fractions))
    for row, size in zip(targets, class_sizes.tolist(), strict=True):
        ideal = size * np.asarray(fractions)
        row[:] = np.floor(ideal + 1e-9)  # 0.3 · 10 is 2.999…
        if size >= MIN_CLASS_IMAGES_TO_SPREAD:
            np.maximum(row, 1, out=row)
        while row.sum() < size:
            row[np.argmax(np.where(row < ideal - 1e-9, owed + ideal - row, -np.inf))] += 1
        while row.sum() > size:
            row[np.argmax(row)] -= 1
        owed += ideal - row
    return targets


def deal_units(
    units: Sequence[int], order_keys: Sequence[str], labels: np.ndarray, fractions: Sequence[float]
) -> np.ndarray:
    """Give every unit to one split.

    Units of several images come first: each goes where it brings the counts nearest to the targets (the least
    Pearson chi-square), then units are moved and exchanged while that helps. Single images fill up what is
    missing.

    Args:
        units: `(N,)` the unit of each image.
        order_keys: `(N,)` a text for each image; units are dealt in the order of their smallest.
        labels: `(N,)` int64 in [0, K), all of them present.
        fractions: One a split, of sum 1, none of them 0.

    Returns:
        `(N,)` int64, the position in `fractions` of the split of each image.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for image in sorted(range(len(units)), key=lambda image: (order_keys[image], image)):
        members[units[image]].append(image)
    groups = [images for images in members.values() if len(images) > 1]
    singles = np.array([images[0] for images in members.values() if len(images) == 1], np.int64)

    class_sizes = np.bincount(labels)
    targets = count_targets(class_sizes, fractions)
    scale = np.outer(class_sizes, fractions)
    counts_of_group = np.array([np.bincount(labels[images], minlength=len(class_sizes)) for images in groups])
    counts_of_group = counts_of_group.reshape(len(groups), len(class_sizes))
    split_of_group, missing = _place_groups(counts_of_group, targets, scale)
    _exchange_groups(counts_of_group, split_of_group, missing, scale)

    split_of_image = np.empty(len(units), np.int64)
    for images, split in zip(groups, split_of_group, strict=True):
        split_of_image[images] = split
    for label, missing_of_label in enumerate(missing):
        images_of_label = singles[labels[singles] == label]
        shares = _cut_to(missing_of_label, len(images_of_label))
        split_of_image[images_of_label] = np.repeat(np.arange(len(fractions)), shares)
    return split_of_image


def _place_groups(
    counts: np.ndarray, targets: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy, the largest first: the split of each group, and what every class and split then still miss."""
    missing = targets.astype(np.float64)
    splits = np.zeros(len(counts), np.int64)
    for group in np.argsort(-counts.sum(axis=1), kind="stable"):
        gain = counts[group][:, None] * (2 * missing - counts[group][:, None]) / scale
        splits[group] = np.argmax(gain.sum(axis=0))
        missing[:, splits[group]] -= counts[group]
    return splits, missing


def _exchange_groups(counts: np.ndarray, splits: np.ndarray, missing: np.ndarray, scale: np.ndarray) -> None:
    """Move a group, or exchange two, while the chi-square falls; on our own arrays, in place."""
    num_tries = _MAX_COMPARISONS // max(1, counts.size)
    none = np.zeros_like(counts[:1])
    num_in_vain = 0
    for group in itertools.islice(itertools.cycle(range(len(counts))), num_tries):
        here = splits[group]
        best_gain, best = 1e-9, None
        for there in range(missing.shape[1]):
            if there == here:
                continue
            partners = np.flatnonzero(splits == there)
            leaving = counts[group] - np.concatenate([none, counts[partners]])  # first: a move, no partner
            gain_here = leaving * (-2 * missing[:, here] - leaving) / scale[:, here]
            gain_there = leaving * (2 * missing[:, there] - leaving) / scale[:, there]
            gain = (gain_here + gain_there).sum(axis=1)
            choice = int(np.argmax(gain))
            if gain[choice] > best_gain:
                partner = partners[choice - 1] if choice else None
                best_gain, best = gain[choice], (there, leaving[choice], partner)
        if best is None:
            num_in_vain += 1
            if num_in_vain == len(counts):
                return
            continue
        num_in_vain = 0
        there, leaving_counts, partner = best
        splits[group] = there
        if partner is not None:
            splits[partner] = here
        missing[:, here] += leaving_counts
        missing[:, there] -= leaving_counts


def _cut_to(missing: np.ndarray, total: int) -> np.ndarray:
    """What is missing as counts of that total: where groups have overshot, the largest shares give way."""
    shares: np.ndarray = np.maximum(missing, 0).astype(np.int64)
    while shares.sum() > total:
        shares[np.argmax(shares)] -= 1
    return shares
