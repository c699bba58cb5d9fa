"""Likeness: whether members of a group look more alike than images of different groups.

Knows thumbnails and numbers of groups, not what the groups were told from.
"""

from typing import Final

import numpy as np

_MIN_COMPARED: Final = 30
_MAX_COMPARED: Final = 3000


def measure_likeness(
    numbers: np.ndarray, known: np.ndarray, thumbnails: np.ndarray, generator: np.random.Generator
) -> float:
    """How often a member is nearer to another member of its group than to an image of another group.

    Members that a finer grouping has already put together are not asked, where that leaves others: else people
    of one first name would look alike, since each of them looks like himself.
    """
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers[numbers >= 0])
    starts = np.concatenate([[0], np.cumsum(sizes)]) + int((numbers < 0).sum())
    shared = np.flatnonzero((numbers >= 0) & (sizes[numbers] > 1))
    asked = generator.permutation(shared)[:_MAX_COMPARED]
    group = numbers[asked]
    place = np.empty(len(numbers), np.int64)
    place[order] = np.arange(len(numbers))
    own = place[asked] - starts[group]
    other = (own + 1 + generator.integers(0, sizes[group] - 1)) % sizes[group]
    member = order[starts[group] + other]
    stranger = generator.integers(0, len(numbers), len(asked))
    is_asked = numbers[stranger] != group
    is_news = is_asked & ((known[asked] != known[member]) | (known[asked] < 0))
    if is_news.sum() >= _MIN_COMPARED:
        is_asked = is_news
    near, far = (
        ((_look(thumbnails[asked]) - _look(thumbnails[images])) ** 2).sum(axis=1)
        for images in (member, stranger)
    )
    wins = (near < far) + 0.5 * (near == far)
    return float(wins[is_asked].mean()) if is_asked.any() else 0.5


def _look(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, 64)`: means of 8 × 8 blocks, without brightness and contrast."""
    blocks = thumbnails.reshape(len(thumbnails), 8, thumbnails.shape[1] // 8, 8, -1).mean(axis=(2, 4))
    look: np.ndarray = blocks.reshape(len(thumbnails), -1)
    look -= look.mean(axis=1, keepdims=True)
    look /= np.maximum(look.std(axis=1, keepdims=True), 2)
    return look
