"""Two models on the same images: how far their difference, in accuracy or in what an image costs, could be chance.

Knows a number an image and groups: no table, no registry.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from regraft.training.units import group_numbers

_CHUNK_VALUES = 1 << 21  # resamples × units held at once
_ROUNDING = 1e-12  # relative: two orders of summing one thing


@dataclass(frozen=True)
class PairedChange:
    """What changes from a champion to a candidate, in the mean over images.

    Attributes:
        mean: The mean change.
        low: Lower end of its percentile bootstrap interval.
        high: Upper end.
        p_value: Of the two-sided sign-flip test: how often two equally good models differ as much.
    """

    mean: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class PairedComparison:
    """A candidate beside a champion.

    Attributes:
        candidate_accuracy: A fraction in [0, 1].
        champion_accuracy: On the same images.
        difference: Candidate minus champion.
        low: Lower end of the difference's percentile bootstrap interval.
        high: Upper end.
        p_value: Of the two-sided sign-flip test: how often two equally good models differ as much.
        num_candidate_only_right: Images that only the candidate gets right.
        num_champion_only_right: Images that only the champion gets right.
    """

    candidate_accuracy: float
    champion_accuracy: float
    difference: float
    low: float
    high: float
    p_value: float
    num_candidate_only_right: int
    num_champion_only_right: int

    def as_dict(self) -> dict[str, float | int]:
        """For JSON."""
        return asdict(self)


def compare_paired(
    candidate_is_right: NDArray[np.bool_],
    champion_is_right: NDArray[np.bool_],
    *,
    groups: Sequence[str | None] | None,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> PairedComparison:
    """Compare two models image by image.

    Args:
        candidate_is_right: `(N,)` bool.
        champion_is_right: `(N,)` bool, of the same images.
        groups: N group names: whole groups are resampled and flipped, an image without one being its own.
            None: images.
        num_resamples: Of the bootstrap, and of the sign flips.
        confidence: Of the interval.
        seed: Of both.

    Source:
        Sign flips: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, section 3.2; over
        single images they are McNemar's exact test, but for the finite number of flips.
    """
    change = candidate_is_right.astype(np.float64) - champion_is_right.astype(np.float64)
    found = compare_changes(
        change, groups=groups, num_resamples=num_resamples, confidence=confidence, seed=seed
    )
    return PairedComparison(
        candidate_accuracy=float(candidate_is_right.mean()),
        champion_accuracy=float(champion_is_right.mean()),
        difference=found.mean,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        num_candidate_only_right=int((change > 0).sum()),
        num_champion_only_right=int((change < 0).sum()),
    )


def compare_changes(
    changes: NDArray[np.float64],
    *,
    groups: Sequence[str | None] | None,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> PairedChange:
    """How far the mean of what changes from model to model could be chance.

    Args:
        changes: `(N,)` float64, of the same images.
        groups: See `compare_paired`, and there for the others. One seed draws the same images for all changes.
    """
    unit = np.arange(len(changes)) if groups is None else group_numbers(groups)
    sums = np.bincount(unit, weights=changes).astype(np.float64)
    sizes = np.bincount(unit).astype(np.float64)
    generator = np.random.default_rng(seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(_resampled_means(sums, sizes, num_resamples, generator), [tail, 1 - tail])
    p_value = _sign_flip_p_value(sums, num_resamples, generator)
    return PairedChange(float(changes.mean()), float(low), float(high), p_value)


def _resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], num_resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """`(R,)`: the mean change over units drawn with replacement."""
    chunk = max(1, _CHUNK_VALUES // len(sums))
    means = []
    for start in range(0, num_resamples, chunk):
        drawn = generator.integers(0, len(sums), size=(min(chunk, num_resamples - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    return np.concatenate(means)


def _sign_flip_p_value(sums: NDArray[np.float64], num_flips: int, generator: np.random.Generator) -> float:
    """Two-sided: the fraction of sums with random signs at least as far from 0, the observed one counted in."""
    sums = sums[sums != 0]
    is_whole = bool((sums == np.round(sums)).all())
    flip = _flipped_counts if is_whole else _flipped_sums
    far = np.abs(flip(sums, num_flips, generator)) >= (1 - _ROUNDING) * abs(sums.sum())
    return float((1 + far.sum()) / (1 + num_flips))


def _flipped_counts(
    sums: NDArray[np.float64], num_flips: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """`(R,)` sums with random signs, of whole numbers: few are different.

    Units of one size are flipped together: the sum of m random signs is 2 · Binomial(m, 1/2) − m.
    """
    flipped = np.zeros(num_flips)
    for size, count in zip(*np.unique(np.abs(sums), return_counts=True), strict=True):
        flipped += size * (2 * generator.binomial(count, 0.5, num_flips) - count)
    return flipped


def _flipped_sums(
    sums: NDArray[np.float64], num_flips: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """`(R,)` sums with random signs, of numbers of which most are different; a bit a sign."""
    num_bytes = -(-len(sums) // 8)
    chunk = max(1, _CHUNK_VALUES // len(sums))
    parts = []
    for start in range(0, num_flips, chunk):
        drawn = generator.integers(0, 256, size=(min(chunk, num_flips - start), num_bytes), dtype=np.uint8)
        is_kept = np.unpackbits(drawn, axis=1, count=len(sums))
        parts.append(2 * (is_kept.astype(np.float64) @ sums) - sums.sum())
    return np.concatenate(parts)
