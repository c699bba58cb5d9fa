"""Neighbours: the nearest codes of each image, found without comparing every code with every other.

Knows vectors only. Each code belongs to the nearest of about √N pivots, and is compared with the members of the few
pivots that are nearest to it: N·√N comparisons, as matrix products.
"""

import math
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

_NUM_PROBES: Final = 12  # pivots looked at; see docs/adr/0014
_MAX_MEMBERS_KEPT: Final = (
    16  # of one pivot, for one query; 8 lose one in a hundred cropped cells among its like
)
_BLOCK: Final = 2048  # images whose neighbours are looked for at once


class Vectors(Protocol):
    """`(N, D)` float32: an array, or what computes rows as they are asked for."""

    def __getitem__(self, rows: np.ndarray | slice, /) -> np.ndarray: ...


def find_neighbours(
    codes_of_orientation: Sequence[Vectors],
    *,
    radius: float,
    max_neighbours: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find pairs of images of which one, in some orientation, has nearly the code of the other.

    Args:
        codes_of_orientation: Eight times `(N, D)` float32, upright first.
        radius: Largest squared distance.
        max_neighbours: Of an image; the nearest are kept.
        generator: Draws the pivots.

    Returns:
        `first`, `second` and `orientation`, `(P,)` ints: the code of `first`, brought into the orientation, is
        near the upright code of `second`; `first < second`, no pair twice.
    """
    upright = codes_of_orientation[0][:]
    num_images = len(upright)
    pivots = upright[generator.choice(num_images, max(1, math.isqrt(num_images)), replace=False)]
    owner = _nearest_pivots(upright, pivots, 1)[:, 0]
    members = [np.flatnonzero(owner == pivot) for pivot in range(len(pivots))]
    found = []
    for start in range(0, num_images, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, num_images))
        queries = np.concatenate([codes[block] for codes in codes_of_orientation])
        images = np.tile(block, len(codes_of_orientation))
        orientations = np.repeat(np.arange(len(codes_of_orientation)), len(block))
        rows, others, distances = _probe(queries, images, upright, pivots, members, radius)
        keep = _nearest_of_each(images[rows], others, distances, max_neighbours)
        found.append(np.stack([images[rows], others, orientations[rows]])[:, keep])
    return _without_repeats(np.concatenate(found, axis=1))


def _nearest_pivots(codes: np.ndarray, pivots: np.ndarray, count: int) -> np.ndarray:
    """`(N, count)` the nearest pivots of each code."""
    distances = (pivots**2).sum(axis=1) - 2 * codes @ pivots.T
    if count >= len(pivots):
        return np.tile(np.arange(len(pivots)), (len(codes), 1))
    if count == 1:
        first: np.ndarray = np.argmin(distances, axis=1)[:, None]
        return first
    nearest: np.ndarray = np.argpartition(distances, count, axis=1)[:, :count]
    return nearest


def _probe(
    queries: np.ndarray,
    images: np.ndarray,
    upright: np.ndarray,
    pivots: np.ndarray,
    members: Sequence[np.ndarray],
    radius: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the queries, and the members of their pivots within the radius, with the squared distances."""
    probes = _nearest_pivots(queries, pivots, _NUM_PROBES)
    order = np.argsort(probes.ravel(), kind="stable")
    query_of_probe = order // probes.shape[1]
    borders = np.searchsorted(probes.ravel()[order], np.arange(len(pivots) + 1))
    squares = (queries**2).sum(axis=1)
    rows, others, kept = [], [], []
    for pivot, inside in enumerate(members):
        asking = query_of_probe[borders[pivot] : borders[pivot + 1]]
        if not len(asking) or not len(inside):
            continue
        codes = upright[inside]
        distances = queries[asking] @ codes.T
        distances *= 2
        np.subtract(squares[asking, None] + (codes**2).sum(axis=1), distances, out=distances)
        place = np.minimum(np.searchsorted(inside, images[asking]), len(inside) - 1)
        own = np.flatnonzero(inside[place] == images[asking])  # none is its own neighbour
        distances[own, place[own]] = np.inf
        row, column = _least_of_rows(distances, radius)
        rows.append(asking[row])
        others.append(inside[column])
        kept.append(distances[row, column])
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    return np.concatenate(rows), np.concatenate(others), np.concatenate(kept)


def _least_of_rows(distances: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the entries within the radius, the least few of each row."""
    width = distances.shape[1]
    row, column = np.divmod(np.flatnonzero(distances <= radius), width)
    is_crowded = np.bincount(row, minlength=len(distances)) > _MAX_MEMBERS_KEPT
    crowded = np.flatnonzero(is_crowded)
    if len(crowded):
        least = np.argpartition(distances[crowded], _MAX_MEMBERS_KEPT, axis=1)[:, :_MAX_MEMBERS_KEPT]
        alone = ~is_crowded[row]
        row = np.concatenate([row[alone], np.repeat(crowded, _MAX_MEMBERS_KEPT)])
        column = np.concatenate([column[alone], least.ravel()])
    return row, column


def _nearest_of_each(
    images: np.ndarray, others: np.ndarray, distances: np.ndarray, max_neighbours: int
) -> np.ndarray:
    """Positions of the nearest few of each image; ties by number, so that the result is one."""
    order = _order(images, others, distances)
    _, starts = np.unique(images[order], return_index=True)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return order[rank < max_neighbours]


def _order(images: np.ndarray, others: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """By image, then distance, then the other: `np.lexsort` in a sixth of its time, for hardly any are ties.

    A float32 has the order of its bits (if negative, of their opposites), so that both are one number to sort by.
    """
    bits = (distances + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ascending = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    keys = images.astype(np.uint64) << np.uint64(32) | ascending
    order: np.ndarray = np.argsort(keys)
    is_tie = np.diff(keys[order]) == 0
    ties = np.flatnonzero(np.append(is_tie, False) | np.append(False, is_tie))
    tied = np.sort(order[ties])
    order[ties] = tied[np.lexsort((others[tied], keys[tied]))]
    return order


def _without_repeats(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair once, from the smaller number to the larger."""
    from regraft.images.thumbnails import invert

    first, second, orientation = pairs
    is_backward = first > second
    turned = np.where(is_backward, invert(orientation), orientation)
    num_images = int(pairs[:2].max(initial=0)) + 1
    keys = (np.minimum(first, second) * num_images + np.maximum(first, second)) * 8 + turned
    pair, orientation = np.divmod(np.unique(keys), 8)
    return *np.divmod(pair, num_images), orientation
