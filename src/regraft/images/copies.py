"""Copies: pairs of images that show the same picture, though resized, cropped, flipped, re-encoded or brightened.

Knows thumbnails only: no file, no label, no split. Three sieves, each finer and slower: codes, tangent distance,
alignment. Not every pair is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from regraft.images.alignment import align, blur_matrix, compare, tangent_distance
from regraft.images.codes import code_orientations, learn_coding
from regraft.images.neighbours import find_neighbours
from regraft.images.thumbnails import SIZE, turn

STRICTEST: Final = (
    0.06  # solar cells cut from one block of silicon differ by 0.059 and more, copies by 0.056 at most
)
LOOSEST: Final = 0.25
_MAX_OF_BURNT: Final = 0.1  # a copy made so bright that parts are white; other cells then differ by 0.12
_SHARE_OF_OTHERS: Final = 0.5  # of the difference of the images that are most alike and yet no copies
_MAX_IN_GAP: Final = 0.01  # of the steps beyond it
_MAX_CHANGED_MORE: Final = 0.05  # of the images; more of them are no copies but look alike

_MIN_CONTRAST: Final = 2.0  # grey values; a flat image is like any other flat one
_REACH: Final = 1.25  # of the radius seen in a sample of copies: 5 % off all four sides is at its end
_MAX_NEIGHBOURS: Final = 24
_MAX_TANGENT_DISTANCE: Final = 0.3
_MAX_CLIPPED_DISTANCE: Final = 0.5
_MAX_COARSE_DIFFERENCE: Final = 0.15
_CLIPPED: Final = 250
_MIN_CLIPPED_FRACTION: Final = 0.01
_CHUNK: Final = 256  # pairs
_BLOCK: Final = 2048  # images


@dataclass(frozen=True)
class NearCopies:
    """Pairs of near copies.

    Attributes:
        first: `(P,)` int64, the image with the smaller number.
        second: `(P,)` int64.
        orientation: `(P,)` int64: how `first` lies in `second`, a position in `ORIENTATIONS`.
        motion: `(P, 4)` float32: shift and stretch across and down, as `align` gives them.
        difference: `(P,)` float32, what is left after aligning.
        gain: `(P,)` float32, contrast of `second` in parts of that of `first`.
        max_difference: Up to here two images were taken for copies.
        num_compared: Pairs looked at closely.
        is_flat: `(N,)` bool: images without contrast, that were compared with none.
    """

    first: np.ndarray
    second: np.ndarray
    orientation: np.ndarray
    motion: np.ndarray
    difference: np.ndarray
    gain: np.ndarray
    max_difference: float
    num_compared: int
    is_flat: np.ndarray


def find_near_copies(thumbnails: np.ndarray, *, seed: int = 0) -> NearCopies:
    """Find the near copies among all images.

    Args:
        thumbnails: `(N, SIZE, SIZE)` uint8, of images that are not the same pixel for pixel.
        seed: Of the samples from which codes and pivots are learnt.

    Returns:
        The pairs, ordered; the same for the same thumbnails in the same order.
    """
    generator = np.random.default_rng(seed)
    is_flat = _each(thumbnails, lambda block: block.std(axis=(1, 2), dtype=np.float32)) < _MIN_CONTRAST
    images = np.flatnonzero(~is_flat)
    squares = thumbnails if len(images) == len(thumbnails) else thumbnails[images]
    pairs = np.zeros((3, 0), np.int64)
    if len(squares) > 1:
        coding = learn_coding(squares, generator)
        codes = code_orientations(squares, coding)
        pairs = np.stack(
            find_neighbours(
                codes, radius=_REACH * coding.radius, max_neighbours=_MAX_NEIGHBOURS, generator=generator
            )
        )
        del codes
    is_clipped = _each(squares, lambda block: (block >= _CLIPPED).mean(axis=(1, 2))) > _MIN_CLIPPED_FRACTION
    pairs, motion = _sieve_by_tangents(squares, pairs, is_clipped)
    motion, coarse = _lay_coarsely(squares, pairs, motion)
    is_burnt = is_clipped[pairs[0]] | is_clipped[pairs[1]]
    max_difference = _choose_border(pairs[:, ~is_burnt], coarse[~is_burnt], len(squares))
    border = np.where(is_burnt, max(max_difference, _MAX_OF_BURNT), max_difference)
    near = coarse <= np.maximum(border, _MAX_COARSE_DIFFERENCE)
    pairs, border = pairs[:, near], border[near]
    motion, difference, gain = _lay_finely(squares, pairs, motion[near])
    keep = difference <= border
    return NearCopies(
        first=images[pairs[0, keep]],
        second=images[pairs[1, keep]],
        orientation=pairs[2, keep],
        motion=motion[keep],
        difference=difference[keep],
        gain=gain[keep],
        max_difference=max_difference,
        num_compared=len(coarse),
        is_flat=is_flat,
    )


def _sieve_by_tangents(
    squares: np.ndarray, pairs: np.ndarray, is_clipped: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of which one is near what a small change makes of the other, and a first guess at the change."""
    small = _shrink(squares, 4, smooth=3.0)
    kept, guesses = [pairs[:, :0]], [np.zeros((0, 4), np.float32)]
    for start in range(0, pairs.shape[1], _CHUNK):
        chunk = pairs[:, start : start + _CHUNK]
        first, second = turn(small[chunk[0]], chunk[2]), small[chunk[1]]
        distance, guess = tangent_distance(first, second)
        back, _ = tangent_distance(second, first)
        is_burnt = is_clipped[chunk[0]] | is_clipped[chunk[1]]
        border = np.where(is_burnt, _MAX_CLIPPED_DISTANCE, _MAX_TANGENT_DISTANCE)
        near = np.minimum(distance, back) <= border
        kept.append(chunk[:, near])
        guesses.append(guess[near])
    return np.concatenate(kept, axis=1), np.concatenate(guesses)


def _lay_coarsely(squares: np.ndarray, pairs: np.ndarray, guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Motion and difference at half the size, which costs a fifth."""
    motions, differences = [guess[:0]], [np.zeros(0, np.float32)]
    for start in range(0, pairs.shape[1], _CHUNK):
        chunk = pairs[:, start : start + _CHUNK]
        first = _shrink(turn(squares[chunk[0]], chunk[2]), 2, smooth=1.0)
        second = _shrink(squares[chunk[1]], 2, smooth=1.0)
        motion = align(first, second, guess[start : start + _CHUNK], num_steps=3)
        difference, _ = compare(first, second, motion)
        motions.append(motion)
        differences.append(difference)
    return np.concatenate(motions), np.concatenate(differences)


def _lay_finely(
    squares: np.ndarray, pairs: np.ndarray, guess: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Motion, difference and gain at full size."""
    motions, differences = [guess[:0]], [np.zeros(0, np.float32)]
    gains = [np.zeros(0, np.float32)]
    for start in range(0, pairs.shape[1], _CHUNK):
        chunk = pairs[:, start : start + _CHUNK]
        first = turn(squares[chunk[0]], chunk[2]).astype(np.float32)
        second = squares[chunk[1]].astype(np.float32)
        motion = align(first, second, guess[start : start + _CHUNK], num_steps=2)
        difference, gain = compare(first, second, motion)
        motions.append(motion)
        differences.append(difference)
        gains.append(gain)
    return np.concatenate(motions), np.concatenate(differences), np.concatenate(gains)


def _choose_border(pairs: np.ndarray, differences: np.ndarray, num_images: int) -> float:
    """The largest difference of a copy: below a gap up to the pictures that are others.

    Where images differ as much as photographs do, this takes in copies that were changed more. Looked at are the
    steps by which images join, the most alike first (single linkage): a copy joins its picture by one small step,
    however much it differs from other copies of it. Many steps beyond the strictest border are no copies, but
    images that look alike.
    """
    steps = _linking_steps(pairs, differences, num_images)
    steps = steps[steps > STRICTEST]
    for num_copies in range(min(len(steps), int(_MAX_CHANGED_MORE * num_images)), -1, -1):
        nearest = num_copies + int(_MAX_IN_GAP * (len(steps) - num_copies))
        border = min(LOOSEST, _SHARE_OF_OTHERS * float(steps[nearest])) if nearest < len(steps) else LOOSEST
        if border > STRICTEST and (not num_copies or steps[num_copies - 1] <= border):
            return border
    return STRICTEST


def _linking_steps(pairs: np.ndarray, differences: np.ndarray, num_images: int) -> np.ndarray:
    """The differences at which images join, in ascending order: the edges of the minimum spanning forest."""
    order = np.argsort(differences, kind="stable")
    _, least = np.unique(pairs[0, order] * num_images + pairs[1, order], return_index=True)
    rows = order[least]  # a pair may lie alike in several orientations
    edges = differences[rows].astype(np.float64) + 1e-9  # a difference of 0 would be no edge
    graph = coo_array((edges, (pairs[0, rows], pairs[1, rows])), shape=(num_images, num_images))
    steps: np.ndarray = np.sort(minimum_spanning_tree(graph.tocsr()).data)
    return steps


def _each(squares: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`(N,)` a measure of each image, in blocks: as floats all of them would take gigabytes."""
    blocks = [measure(squares[start : start + _BLOCK]) for start in range(0, len(squares), _BLOCK)]
    return np.concatenate([np.zeros(0), *blocks])


def _shrink(squares: np.ndarray, factor: int, smooth: float) -> np.ndarray:
    """`(N, SIZE / factor, SIZE / factor)` float32: smoothed by a Gaussian of some pixels, then means of blocks."""
    size = SIZE // factor
    mean = np.kron(np.eye(size), np.full((1, factor), 1 / factor))
    matrix = (mean @ blur_matrix(SIZE, smooth)).astype(np.float32)
    shrunk = np.empty((len(squares), size, size), np.float32)
    for start in range(0, len(squares), _BLOCK):
        shrunk[start : start + _BLOCK] = (
            matrix @ squares[start : start + _BLOCK].astype(np.float32) @ matrix.T
        )
    return shrunk
