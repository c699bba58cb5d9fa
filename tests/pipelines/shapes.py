"""Draws the data set of the end-to-end test: `python shapes.py FOLDER` writes 3 × 20 pictures of 64×64 pixels.

Reddish discs, greenish squares and bluish crosses in noise: a folder a class, the same bytes each time.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cross", "disc", "square")


def draw_shapes(folder: Path, *, num_per_class: int = 20, size: int = 64, seed: int = 0) -> None:
    """Write `cross/00.png` and so on below a folder."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True)
        for number in range(num_per_class):
            pixels = generator.integers(0, 60, (size, size, 3))
            y, x = np.mgrid[:size, :size] - generator.integers(size // 3, 2 * size // 3, (2, 1, 1))
            shape = {
                "cross": (np.minimum(abs(x), abs(y)) < size // 16) & (np.maximum(abs(x), abs(y)) < size // 4),
                "disc": x**2 + y**2 < (size // 4) ** 2,
                "square": np.maximum(abs(x), abs(y)) < size // 5,
            }[name]
            pixels[shape] += generator.integers(0, 60, 3)
            pixels[shape, label] += 130
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02d}.png")


if __name__ == "__main__":
    draw_shapes(Path(sys.argv[1]))
