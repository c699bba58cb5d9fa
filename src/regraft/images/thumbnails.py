"""Thumbnails: the small grey square by which two images are compared, and its eight flips and turns.

Knows neither files nor what a copy is. Made while the image is open anyway: 0.3 ms of a 300 × 300 image.
"""

from typing import Final

import numpy as np
from PIL import Image

SIZE: Final = 64

_HOT_FRACTION: Final = 0.001
_MAX_GAIN: Final = 8

# How an image lies: 4 swaps rows and columns, then 2 reverses the rows, then 1 reverses the columns.
ORIENTATIONS: Final = (
    "upright",
    "flipped left to right",
    "flipped top to bottom",
    "turned by 180°",
    "flipped along the diagonal",
    "turned by 90° to the right",
    "turned by 90° to the left",
    "flipped along the other diagonal",
)


def make_thumbnail(image: Image.Image) -> np.ndarray:
    """Squeeze an image into `(SIZE, SIZE)` uint8 grey, whatever its proportions.

    Lanczos, since what is compared later is what is left after aligning two of them to a fraction of a pixel:
    with a box filter the aliases of a crop were as large as the differences between two solar cells. A dark image
    is doubled until it is not, so that rounding to 8 bits leaves something to compare.
    """
    grey = image.convert("L")
    gain = _choose_gain(grey)
    if gain > 1:
        grey = grey.point([min(255, value * gain) for value in range(256)])
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.LANCZOS, reducing_gap=2.0))


def _choose_gain(grey: Image.Image) -> int:
    """1, 2, 4 or 8: all but the brightest thousandth of the pixels stay below 256."""
    counts = np.cumsum(grey.histogram()[::-1])
    brightest = 255 - int(np.searchsorted(counts, counts[-1] * _HOT_FRACTION, side="right"))
    gain = 1
    while gain < _MAX_GAIN and 2 * gain * max(brightest, 1) < 256:
        gain *= 2
    return gain


def turn(squares: np.ndarray, orientations: np.ndarray) -> np.ndarray:
    """Bring each square into an orientation.

    Args:
        squares: `(N, S, S)` of any dtype.
        orientations: `(N,)` ints, positions in `ORIENTATIONS`.

    Returns:
        A new array, `(N, S, S)`.
    """
    turned = squares.copy()
    swapped = orientations >= 4
    turned[swapped] = squares[swapped].transpose(0, 2, 1)
    rows = (orientations & 2) > 0
    turned[rows] = turned[rows][:, ::-1]
    columns = (orientations & 1) > 0
    turned[columns] = turned[columns][:, :, ::-1]
    return turned


def invert(orientations: np.ndarray) -> np.ndarray:
    """The orientations that undo the given ones: only the two quarter turns are not their own."""
    exchanged = 4 + 2 * (orientations & 1) + ((orientations & 2) >> 1)
    return np.where(orientations >= 4, exchanged, orientations)
