"""Kernel machines as linear ones: features in which a linear probe is a function of nearness to some centres.

Knows arrays alone: neither labels nor how the probe is solved.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float64]

# Of the largest eigenvalue: directions in which centres hardly differ would need weights that float32 cannot hold.
_LEAST_EIGENVALUE = 1e-6


@dataclass(frozen=True)
class Kernel:
    """Radial basis functions of standardised features, see `heads.kernel.KernelFeatures`.

    Attributes:
        num_centres: Rows that nearness is measured to; all of them where there are no more.
        gamma: How fast it falls.
    """

    num_centres: int
    gamma: float

    def features(
        self, points: NDArray[np.float32], others: NDArray[np.float32], *, generator: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Features `(N, R)` and `(M, R)` of rows to learn from, whose centres are drawn, and of others.

        Args:
            points: `(N, D)` standardised.
            others: `(M, D)` standardised alike.
            generator: Draws the centres.
        """
        rows = draw_centres(len(points), self.num_centres, generator)
        centres = points[rows]
        of_points = self._nearness(points, centres)
        projection = nystrom_projection(of_points[rows])
        return of_points @ projection, self._nearness(others, centres) @ projection

    def _nearness(self, points: NDArray[np.float32], centres: NDArray[np.float32]) -> Floats:
        squares = np.square(points).mean(axis=1)[:, None] + np.square(centres).mean(axis=1)
        distances = np.maximum(squares - 2 * (points @ centres.T) / centres.shape[1], 0)
        values: Floats = np.exp(-self.gamma * distances.astype(np.float64))
        return values


def draw_centres(num_rows: int, num_centres: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Which rows are centres, in their order; all where no more are there."""
    return np.sort(generator.permutation(num_rows)[:num_centres])


def nystrom_projection(nearness: Floats) -> Floats:
    """What turns nearness to centres `(N, M)` into features `(N, R)`, R ≤ M, whose products are the kernel.

    Args:
        nearness: `(M, M)` of the centres to each other.

    Source:
        Nyström features: Williams & Seeger 2000; exact where all rows learnt from are centres.
    """
    values, vectors = eigh(nearness)
    is_kept = values > _LEAST_EIGENVALUE * values[-1]
    projection: Floats = vectors[:, is_kept] / np.sqrt(values[is_kept])
    return projection
