"""Small real images, written into a temporary project folder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the working folder: paths are relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Saves random pixels: equal seeds and sizes give equal pixels, in any lossless format."""

    def save(path: str | Path, seed: int = 0, *, size: tuple[int, int] = (12, 9), mode: str = "RGB") -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return save


@pytest.fixture
def draw_picture() -> Callable[..., Image.Image]:
    """Draws a picture of its own for every seed: blots of several sizes, as a photograph has."""

    def draw(seed: int, *, size: tuple[int, int] = (160, 120)) -> Image.Image:
        generator = np.random.default_rng(seed)
        values = np.full((size[1], size[0], 3), 128.0)
        for cells in (3, 7, 15, 40):
            blots = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), np.uint8))
            values += (np.asarray(blots.resize(size, Image.Resampling.BICUBIC), float) - 128) / cells**0.4
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

    return draw


@pytest.fixture
def draw_cell() -> Callable[..., Image.Image]:
    """Draws a solar cell: bars and a frame that all cells share, a grain and a spot or two of its own."""

    def draw(seed: int, *, size: int = 150) -> Image.Image:
        generator = np.random.default_rng(seed)
        cell = np.full((size, size), 170.0)
        cell[:4], cell[-4:], cell[:, :4], cell[:, -4:] = 60, 60, 60, 60
        for bar in (0.2, 0.5, 0.8):
            cell[int(bar * size) - 2 : int(bar * size) + 2] = 40
        grain = Image.fromarray(generator.integers(90, 166, (24, 24), np.uint8)).resize((size, size))
        cell += 0.4 * (np.asarray(grain, float) - 128) + generator.normal(0, 4, cell.shape)
        for _ in range(2):
            top, left = generator.integers(10, size - 30, 2)
            cell[top : top + 14, left : left + 9] -= 45
        return Image.fromarray(np.clip(cell, 0, 255).astype(np.uint8)).convert("RGB")

    return draw
