"""Codes: a few numbers an image, near for copies and far for others, learnt from the collection itself.

Knows thumbnails only. What a copy changes (a crop, the brightness) is tried out on a sample of the collection:
solar cells all have the same bars, and a crop moves those bars; such directions get no weight.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image
from scipy.linalg import eigh

from regraft.images.thumbnails import SIZE

_NUM_FREQUENCIES: Final = 16  # a side; finer ones do not survive a crop of 5 %
_NUM_NUMBERS: Final = 32  # of a code; 16 lose 1 % of the cropped cells, 48 gain nothing
_NUM_SAMPLED: Final = 600  # images
_NUM_CHANGED: Final = 1800  # copies made of them, however few they are: else what they show is chance
_MAX_CROP_FRACTION: Final = 0.1  # of a side, both ends together: 5 % cut off all around
_GAINS: Final = (0.65, 1.35)
_NOISE_FLOOR: Final = 0.02  # of the mean noise, added to each direction: a sample does not show all
_COPY_QUANTILE: Final = 0.999
_BLOCK: Final = 2048


@dataclass(frozen=True)
class Coding:
    """How to code the images of one collection.

    Attributes:
        weights: `(D, F)` float32, from the F lowest cosine coefficients.
        is_odd: `(2, D)` bool: whether a number changes its sign when rows, or columns, are reversed.
        radius: Squared distance within which nearly all changed copies of the sample lie.
    """

    weights: np.ndarray
    is_odd: np.ndarray
    radius: float


def learn_coding(thumbnails: np.ndarray, generator: np.random.Generator) -> Coding:
    """Find the directions in which the images differ most for what copying changes.

    A linear discriminant analysis with every image its own class, made separately for the four kinds of
    symmetry, so that a flip of an image only changes signs.

    Args:
        thumbnails: `(N, SIZE, SIZE)` uint8, N at least 1.
        generator: Which images are sampled, and how their copies are changed.

    Returns:
        The coding; the same for the same thumbnails in the same order and the same generator.
    """
    size = min(len(thumbnails), 4 * _NUM_SAMPLED)
    varied = np.sort(generator.choice(len(thumbnails), size, replace=False))
    coefficients = _coefficients(thumbnails[varied])
    sample = np.sort(generator.choice(size, min(size, _NUM_SAMPLED), replace=False))
    repeated = np.resize(sample, max(_NUM_CHANGED, len(sample)))
    changed = _coefficients(_change(thumbnails[varied[repeated]], generator))
    noise = (changed - coefficients[repeated]).reshape(len(changed), -1)
    flat = coefficients.reshape(size, -1)
    rows, columns = np.mgrid[:_NUM_FREQUENCIES, :_NUM_FREQUENCIES]
    is_low = (rows + columns < _NUM_FREQUENCIES + 2).ravel()
    found: list[tuple[float, np.ndarray, tuple[bool, bool]]] = []
    for odd_rows in (False, True):
        for odd_columns in (False, True):
            kind = (rows % 2 == odd_rows) & (columns % 2 == odd_columns)
            chosen = np.flatnonzero(is_low & kind.ravel())
            signal = flat[:, chosen]
            if not odd_rows and not odd_columns:
                signal = signal - signal.mean(axis=0)  # the others are as often plus as minus
            spread = signal.T @ signal / size
            shake = noise[:, chosen].T @ noise[:, chosen] / len(noise)
            shake += np.eye(len(chosen)) * (np.trace(shake) / len(chosen) * _NOISE_FLOOR + 1e-9)
            values, vectors = eigh(spread.astype(np.float64), shake.astype(np.float64))
            for value, vector in zip(values, vectors.T, strict=True):
                weights = np.zeros(_NUM_FREQUENCIES**2, np.float32)
                weights[chosen] = vector
                found.append((float(value), weights, (odd_rows, odd_columns)))
    found.sort(key=lambda direction: -direction[0])
    best = found[:_NUM_NUMBERS]
    weights = np.stack([direction[1] for direction in best])
    is_odd = np.array([direction[2] for direction in best]).T
    radius = float(np.quantile(((noise @ weights.T) ** 2).sum(axis=1), _COPY_QUANTILE))
    return Coding(weights, is_odd, radius)


@dataclass(frozen=True)
class Codes:
    """The codes of all images in one orientation; they are computed as they are asked for.

    Attributes:
        numbers: `(N, D)` float32, of an orientation that differs by signs alone.
        signs: `(D,)` float32, 1 or -1.
    """

    numbers: np.ndarray
    signs: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> np.ndarray:
        """Of some images, `(n, D)`."""
        codes: np.ndarray = self.numbers[rows] * self.signs
        return codes


def code_orientations(thumbnails: np.ndarray, coding: Coding) -> list[Codes]:
    """The codes of all images in each orientation, in the order of `ORIENTATIONS`.

    Four orientations differ by signs alone: two arrays are kept for the eight.
    """
    upright, swapped = np.empty((2, len(thumbnails), len(coding.weights)), np.float32)
    for start in range(0, len(thumbnails), _BLOCK):
        rows = slice(start, start + _BLOCK)
        block = _coefficients(thumbnails[rows])
        for numbers, turned in ((upright, block), (swapped, block.transpose(0, 2, 1))):
            numbers[rows] = turned.reshape(len(block), -1) @ coding.weights.T
    return [
        Codes(
            numbers,
            np.where((coding.is_odd[0] & reverse_rows) ^ (coding.is_odd[1] & reverse_columns), -1, 1).astype(
                np.float32
            ),
        )
        for numbers in (upright, swapped)
        for reverse_rows in (False, True)
        for reverse_columns in (False, True)
    ]


def _coefficients(thumbnails: np.ndarray) -> np.ndarray:
    """`(N, F, F)` lowest coefficients of the cosine transform, after brightness and contrast are taken out."""
    squares = thumbnails.astype(np.float32)
    squares -= squares.mean(axis=(1, 2), keepdims=True)
    squares /= np.maximum(squares.std(axis=(1, 2), keepdims=True), 4)
    np.clip(squares, -2.5, 2.5, out=squares)  # else one black corner outweighs the rest
    waves = _cosines()
    low: np.ndarray = waves @ squares @ waves.T
    return low


def _cosines() -> np.ndarray:
    """`(F, SIZE)`: the orthonormal cosine basis (DCT-II), divided so that a coefficient is a mean."""
    frequency, position = np.mgrid[:_NUM_FREQUENCIES, :SIZE]
    waves = np.cos(np.pi * frequency * (position + 0.5) / SIZE)
    waves *= np.where(frequency == 0, 1.0, np.sqrt(2.0)) / SIZE
    result: np.ndarray = waves.astype(np.float32)
    return result


def _change(thumbnails: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each cropped, and made brighter or darker."""
    copies = []
    for thumbnail in thumbnails:
        width, height = 1 - generator.uniform(0, _MAX_CROP_FRACTION, 2)
        left, top = generator.uniform(0, 1, 2) * (1 - width, 1 - height)
        gain = generator.uniform(*_GAINS)
        image = Image.fromarray(np.minimum(thumbnail * gain, 255).astype(np.uint8))
        box = (left * SIZE, top * SIZE, (left + width) * SIZE, (top + height) * SIZE)
        copies.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)))
    return np.stack(copies)
