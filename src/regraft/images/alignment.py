"""Alignment: lays one thumbnail over another, and says what is then still different.

Knows squares of grey values only. One may be cropped, shifted, stretched by a tenth, brighter or of other contrast.
"""

from typing import Final

import numpy as np

_LARGEST_SHIFT: Final = 0.07  # of a side
_SCALES: Final = (0.87, 1 / 0.87)
_MARGIN: Final = 0.06  # of a side: what the filters have mixed with what lies outside
_LEAST_MARGIN: Final = 3.0  # pixels
_BURNT: Final = 235  # a mean of pixels of which some are clipped
_BURNT_SHARE: Final = 0.005  # of the square
_BRIGHT: Final = (215, 0.15)  # then what is darker than this is compared, if it is that much of the square
_DARK: Final = (180, 0.03)  # of cells brightened by a fifth, aligned by more, this is often all that is left
_NOISE: Final = 4.0  # grey values squared; what is flat up to that is like anything
_ROUNDING: Final = 0.03  # grey values squared: what two roundings to 8 bits leave of a nearly black image

IDENTITY: Final = (0.0, 1.0, 0.0, 1.0)


def tangent_distance(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far a small smooth square is from all that a small crop or another brightness makes of another.

    To first order, these changes span a plane through the first square: its derivatives, itself and its square.

    Args:
        first: `(P, S, S)` float32 in [0, 255].
        second: `(P, S, S)` likewise.

    Returns:
        `(P,)` the part of the contrast of `second` that is not in the plane, in [0, 1]; and `(P, 4)` a first
        guess for `align`.

    Source:
        Simard, LeCun and Denker 1993, Efficient pattern recognition using a new transformation distance.
    """
    size = first.shape[1]
    edge = slice(2, size - 2)
    position = _positions(size)
    down, right = _gradients(first)
    grey = (first - 128) / 128
    plane = [right, right * position, down, down * position[:, None], grey, grey * grey, np.ones_like(grey)]
    vectors = np.stack(plane, axis=1)[:, :, edge, edge].reshape(len(first), len(plane), -1)
    seen = second[:, edge, edge].reshape(len(first), -1)
    seen = seen - seen.mean(axis=1, keepdims=True)
    gram = vectors @ vectors.transpose(0, 2, 1)
    diagonal = np.arange(len(plane))
    gram[:, diagonal, diagonal] *= 1 + 1e-4
    gram[:, diagonal, diagonal] += 1e-3
    projected = vectors @ seen[:, :, None]
    amounts = np.linalg.solve(gram, projected)[:, :, 0]
    energy = (seen * seen).sum(axis=1)
    left = energy - (projected[:, :, 0] * amounts).sum(axis=1)
    distance = np.sqrt(np.maximum(left, 0) / (energy + _NOISE * seen.shape[1]))
    mean_grey = grey[:, edge, edge].mean(axis=(1, 2))
    gain = np.maximum((amounts[:, 4] + 2 * amounts[:, 5] * mean_grey) / 128, 0.3)
    # shifts and stretches are in pixels of this size; `align` counts in sides
    guess = amounts[:, :4] / gain[:, None] / size + np.array(IDENTITY, np.float32)
    return distance, _limit(guess)


def align(first: np.ndarray, second: np.ndarray, guess: np.ndarray, *, num_steps: int) -> np.ndarray:
    """Find the shift and stretch of each axis with which the first square comes to lie on the second.

    Gauss-Newton on the squared differences, with gain and offset.

    Args:
        first: `(P, S, S)` float32 in [0, 255].
        second: `(P, S, S)` likewise.
        guess: `(P, 4)` shift (in sides) and stretch across, shift and stretch down.
        num_steps: Of Gauss-Newton; three come within a hundredth of a pixel.

    Returns:
        `(P, 4)` like the guess.
    """
    size = first.shape[1]
    position = _positions(size)
    blur = blur_matrix(size)
    target = blur @ second @ blur.T
    motion = guess.astype(np.float32)
    for _ in range(num_steps):
        moved, mask = _move(first, motion, blur)
        mask = _mask_burnt(mask, moved, target, *_BRIGHT)
        count = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)
        moved -= (moved * mask).sum(axis=(1, 2), keepdims=True) / count
        rest = (target - (target * mask).sum(axis=(1, 2), keepdims=True) / count) * mask
        down, right = _gradients(moved)
        plane = np.stack([right, right * position, down, down * position[:, None], moved], axis=1)
        plane *= mask[:, None]
        plane = plane.reshape(len(first), 5, -1)
        rest = rest.reshape(len(first), -1, 1)
        gram = plane @ plane.transpose(0, 2, 1)
        diagonal = np.arange(4)  # the gain is not damped: a wrong one is made up for by stretching
        gram[:, diagonal, diagonal] += gram[:, diagonal, diagonal] * 1e-3 + 1e-2
        gram[:, 4, 4] += 1e-3
        amounts = np.linalg.solve(gram, plane @ rest)[:, :, 0]
        gain = np.clip(amounts[:, 4:], 0.3, 3)
        motion = _limit(motion + np.clip(amounts[:, :4] / gain / size, -0.04, 0.04))
    return motion


def compare(first: np.ndarray, second: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is different after the first square was moved, and its tones were fitted to the second's.

    Args:
        first: `(P, S, S)` float32 in [0, 255].
        second: `(P, S, S)` likewise.
        motion: `(P, 4)` as `align` gives it.

    Returns:
        `(P,)` the standard deviation of the difference in parts of that of the second square, where both
        overlap and neither is clipped; and `(P,)` the gain from the first to the second.
    """
    blur = blur_matrix(first.shape[1])
    moved, overlap = _move(first, motion, blur)
    target = blur @ second @ blur.T
    difference, gain = _fit_tones(moved, target, _mask_burnt(overlap, moved, target, *_BRIGHT))
    dark = _mask_burnt(overlap, moved, target, *_DARK)
    burnt = np.flatnonzero(dark.sum(axis=(1, 2)) < overlap.sum(axis=(1, 2)))
    if len(burnt):
        in_the_dark, _ = _fit_tones(moved[burnt], target[burnt], dark[burnt])
        difference[burnt] = np.minimum(difference[burnt], in_the_dark)
    return difference, gain


def _fit_tones(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The difference and the gain under the mask, after a quadratic of the first is fitted to the second."""
    count = np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)

    def centre(values: np.ndarray) -> np.ndarray:
        centred: np.ndarray = (values - (values * mask).sum(axis=(1, 2), keepdims=True) / count) * mask
        return centred

    linear, seen = centre(first), centre(second)
    spread = np.sqrt((linear**2).sum(axis=(1, 2), keepdims=True) / count + 1)
    tones = np.stack([linear, centre(linear**2 / spread)], axis=1).reshape(len(first), 2, -1)
    rest = seen.reshape(len(first), -1, 1)
    gram = tones @ tones.transpose(0, 2, 1) + np.eye(2, dtype=np.float32)
    amounts = np.linalg.solve(gram, tones @ rest)
    rest = rest - tones.transpose(0, 2, 1) @ amounts
    left = (rest[:, :, 0] ** 2).sum(axis=1) - _ROUNDING * count[:, 0, 0]
    difference = np.sqrt(np.maximum(left, 0) / ((seen**2).sum(axis=(1, 2)) + 1e-6))
    return difference, amounts[:, 0, 0]


def _positions(size: int) -> np.ndarray:
    """`(size,)` float32: where each pixel lies, from -1/2 to 1/2."""
    return ((np.arange(size) - (size - 1) / 2) / size).astype(np.float32)


def _gradients(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences down and across; those of the edge are not used."""
    down, right = np.zeros_like(squares), np.zeros_like(squares)
    down[:, 1:-1] = (squares[:, 2:] - squares[:, :-2]) / 2
    right[:, :, 1:-1] = (squares[:, :, 2:] - squares[:, :, :-2]) / 2
    return down, right


def _limit(motion: np.ndarray) -> np.ndarray:
    """Motions that a crop of 5 % on each side can have caused."""
    limited = motion.astype(np.float32)
    limited[:, 0::2] = np.clip(motion[:, 0::2], -_LARGEST_SHIFT, _LARGEST_SHIFT)
    limited[:, 1::2] = np.clip(motion[:, 1::2], *_SCALES)
    return limited


def blur_matrix(size: int, deviation: float = 1.0) -> np.ndarray:
    """`(size, size)` float32, which blurs a column by a Gaussian of some pixels: what is left has no aliases."""
    distance = np.arange(size)[:, None] - np.arange(size)
    weights = np.exp(-(distance**2) / (2 * deviation**2))
    weights[weights < 1e-6] = 0  # far out they are denormal numbers, on which products take ten times as long
    blur: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return blur


def _move(squares: np.ndarray, motion: np.ndarray, blur: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squares moved and blurred, and where what is seen then was inside."""
    across, is_seen_across = _resampling(motion[:, 0], motion[:, 1], squares.shape[1])
    down, is_seen_down = _resampling(motion[:, 2], motion[:, 3], squares.shape[1])
    moved = (blur @ down) @ squares @ (blur @ across).transpose(0, 2, 1)
    return moved, is_seen_down[:, :, None] & is_seen_across[:, None, :]


def _resampling(shift: np.ndarray, stretch: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """`(P, size, size)` matrices of cubic interpolation (Keys 1981), and which rows lie inside."""
    pixels = np.arange(size)
    margin = max(_MARGIN * size, _LEAST_MARGIN)
    middle = (size - 1) / 2
    source = (pixels - middle) * stretch[:, None] + middle + shift[:, None] * size
    first = np.floor(source).astype(np.int64) - 1
    padded = np.zeros(
        (len(shift), size, size + 2), np.float32
    )  # a column on either side takes what lies outside
    for tap in range(4):
        distance = np.abs(source - first - tap)
        near = (1.5 * distance - 2.5) * distance**2 + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        weight = np.where(distance < 1, near, far).astype(np.float32)
        column = np.clip(first + tap + 1, 0, size + 1)[:, :, None]
        np.put_along_axis(padded, column, weight[:, :, None], axis=2)
    matrix = padded[:, :, 1:-1] / np.maximum(padded[:, :, 1:-1].sum(axis=2, keepdims=True), 0.5)
    is_inside = (source >= margin) & (source <= size - 1 - margin)
    is_inside &= (pixels >= margin) & (pixels <= size - 1 - margin)
    return matrix, is_inside


def _mask_burnt(
    overlap: np.ndarray, first: np.ndarray, second: np.ndarray, border: float, least_share: float
) -> np.ndarray:
    """Float32: where both overlap; where one is burnt out, only what is darker, if that is enough."""
    mask = overlap.copy()
    brighter = np.maximum(first, second)
    burnt = np.flatnonzero(((brighter > _BURNT) & overlap).mean(axis=(1, 2)) > _BURNT_SHARE)
    clear = overlap[burnt] & (brighter[burnt] < border)
    is_enough = clear.mean(axis=(1, 2)) > least_share
    mask[burnt[is_enough]] = clear[is_enough]
    return mask.astype(np.float32)
