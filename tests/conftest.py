"""Small real networks and pictures of coloured shapes, shared by the tests of several rooms."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.backbones.pooling import Pooling
    from regraft.classifier import Classifier, Head
    from regraft.images.preprocessing import Preprocessing


def pytest_configure() -> None:
    """Heed signals that whoever started the tests ignores (nohup, a job in the background): processes that the tests
    start inherit that, and some are there to be interrupted."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker a core for the whole suite; none for a file or a folder of it, which starting them would slow down."""
    if config.args != config.getini("testpaths"):
        config.option.dist = "no"
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one thread: the tests' figures are those of one core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def preprocessing() -> "Preprocessing":
    """32 pixels a side, stretched; three channels of three means and deviations."""
    from regraft.images.preprocessing import Preprocessing

    return Preprocessing(
        size=32,
        resize_size=32,
        fit="stretch",
        interpolation="bilinear",
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.3),
    )


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., "Backbone"]:
    """The first four stages of EfficientNet-Lite0, frozen; random weights of a seed, and no norm the identity."""
    import torch

    from regraft.backbones.backbone import build_backbone, freeze
    from regraft.backbones.weights import RandomWeights, load_weights
    from regraft.backbones.zoo import get_spec

    def make(seed: int = 0, *, cut: str = "blocks.2", pooling: "Pooling" = "mean") -> "Backbone":
        spec = get_spec("efficientnet_lite0")
        state, receipt = load_weights(spec, RandomWeights(kind="random", seed=seed))
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in state.items():
            if name.endswith(("running_mean", "bias")):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        backbone = build_backbone(spec.name, weights=state, cut=cut, receipt=receipt, pooling=pooling)
        freeze(backbone)
        return backbone

    return make


@pytest.fixture(scope="session")
def make_head() -> Callable[..., "Head"]:
    """A linear head of random weights of a seed, for a backbone and labels."""
    import torch

    from regraft.classifier import Head
    from regraft.heads.layers import LinearLayers
    from regraft.heads.targets import target_for

    def make(
        backbone: "Backbone",
        label_names: tuple[str, ...] = ("disc", "square", "cross"),
        seed: int = 0,
        *,
        stages: tuple[str, ...] | None = None,
    ) -> "Head":
        target, layers = target_for("label", label_names), LinearLayers()
        feature_dim = sum(backbone.feature_dims[stage] for stage in stages or (backbone.cut,))
        modules = layers.build(feature_dim, target.num_outputs)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in modules.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        return Head(modules.eval().requires_grad_(False), layers, feature_dim, target, stages)

    return make


@pytest.fixture
def make_probe(
    make_backbone: Callable[..., "Backbone"], make_head: Callable[..., "Head"], preprocessing: "Preprocessing"
) -> Callable[..., "Classifier"]:
    """A classifier of a small backbone and a linear head; its own copy each time."""
    from regraft.classifier import assemble

    def make(
        label_names: tuple[str, ...] = ("disc", "square", "cross"), *, seed: int = 0, views: str = "identity"
    ) -> "Classifier":
        backbone = make_backbone(seed)
        return assemble(backbone, make_head(backbone, label_names, seed), preprocessing, views=views)

    return make


@pytest.fixture(scope="session")
def draw_shapes() -> Callable[..., tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Reddish discs, greenish squares and bluish crosses in noise: pixels `(N, S, S, 3)` uint8 and labels
    `(N,)` in [0, K), in turn."""

    def draw(
        num_images: int, *, size: int = 32, num_classes: int = 3, seed: int = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        generator = np.random.default_rng(seed)
        pixels = generator.integers(0, 100, (num_images, size, size, 3))
        labels = np.arange(num_images) % num_classes
        for image, label in zip(pixels, labels, strict=True):
            y, x = np.mgrid[:size, :size] - generator.integers(size // 3, 2 * size // 3, (2, 1, 1))
            shape = (
                x**2 + y**2 < (size // 5) ** 2,
                np.maximum(abs(x), abs(y)) < size // 6,
                np.minimum(abs(x), abs(y)) < size // 16,
            )[label]
            image[shape] += generator.integers(20, 60, 3)
            image[shape, label] += 90
        return pixels.astype(np.uint8), labels.astype(np.int64)

    return draw
