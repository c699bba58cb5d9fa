"""One thread, one device, and a store in memory."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regraft.classifier import Classifier
from regraft.images.blocks import ArrayBlocks
from regraft.training.features import extract_features
from regraft.training.fine_tune import Labelled
from regraft.training.linear_probe import SolverSettings, fit_linear_probe
from regraft.training.reproducibility import Compute


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """For all tests of this room."""


@pytest.fixture
def compute() -> Compute:
    return Compute(device=torch.device("cpu"), fast_dtype=torch.float32, num_streams=1, deterministic=True)


class MemoryStore:
    """An `ArrayStore` that keeps arrays in memory.

    Attributes:
        arrays: What is kept, by key.
        num_computed: Arrays computed so far.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[np.generic]] = {}
        self.num_computed = 0

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> NDArray[np.generic]:
        if key not in self.arrays:
            self.num_computed += 1
            self.arrays[key] = np.concatenate(list(blocks))
        return self.arrays[key]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="session")
def shapes(draw_shapes: Callable) -> tuple[Labelled, Labelled]:
    """Train and val: 30 and 13 pictures of discs, squares and crosses."""
    return Labelled(*draw_shapes(30, seed=1)), Labelled(*draw_shapes(13, seed=2))


@pytest.fixture
def fitted_probe(
    make_probe: Callable[..., Classifier], shapes: tuple[Labelled, Labelled], compute: Compute
) -> Classifier:
    """A probe whose head is fitted to the training pictures, loosely."""
    probe, train = make_probe(), shapes[0]
    features = extract_features(
        probe.backbone, train.pixels, probe.preprocessing, batch_size=10, compute=compute
    ).compute(0, len(train.pixels))
    fitted = fit_linear_probe(
        features[:, -probe.backbone.feature_dim :],
        train.labels,
        num_classes=3,
        groups=np.arange(len(train.labels)),
        settings=SolverSettings((0.3,), num_folds=2, tolerance=1e-4, max_iterations=500, seed=0),
    )
    with torch.no_grad():
        probe.head[0].weight.copy_(torch.from_numpy(fitted.weight))
        probe.head[0].bias.copy_(torch.from_numpy(fitted.bias))
    return probe
