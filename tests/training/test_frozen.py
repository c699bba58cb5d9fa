"""The frozen network in bfloat16: nearer to float32 than rounding leaves it."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.backbones.fused import fuse
from regraft.classifier.classifier import normalize_pixels
from regraft.images.preprocessing import Preprocessing
from regraft.training.frozen import frozen_network
from regraft.training.reproducibility import Compute


@pytest.fixture
def half(compute: Compute) -> Compute:
    return dataclasses.replace(compute, fast_dtype=torch.bfloat16)


def test_what_rounding_shifts_is_taken_back(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    half: Compute,
) -> None:
    backbone, pixels = make_backbone(pooling="mean_and_deviation"), draw_shapes(40)[0]
    before = tensor_digest(backbone)
    exact = features(fuse(backbone, size=32), pixels, preprocessing, torch.float32)
    plain = features(fuse(backbone, size=32).to(torch.bfloat16), pixels, preprocessing, torch.bfloat16)
    calibrated = features(
        frozen_network(backbone, pixels, preprocessing, compute=half), pixels, preprocessing, torch.bfloat16
    )
    spread = exact.std(dim=0)
    shift_of_plain, shift = (
        (each - exact).mean(dim=0)[spread > 1e-3].abs().div(spread[spread > 1e-3]).median()
        for each in (plain, calibrated)
    )
    assert shift < 0.5 * shift_of_plain
    assert tensor_digest(backbone) == before


def test_float32_is_the_fused_network_itself(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, pixels = make_backbone(), draw_shapes(3)[0]
    network = frozen_network(backbone, pixels, preprocessing, compute=compute)
    assert torch.equal(
        features(network, pixels, preprocessing, torch.float32),
        features(fuse(backbone, size=32), pixels, preprocessing, torch.float32),
    )


def test_the_same_images_calibrate_to_the_same_bits(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    half: Compute,
) -> None:
    backbone, pixels = make_backbone(), draw_shapes(3)[0]
    first, second = (frozen_network(backbone, pixels, preprocessing, compute=half) for _ in range(2))
    assert tensor_digest(first) == tensor_digest(second)


def features(
    network: Backbone, pixels: np.ndarray, preprocessing: Preprocessing, dtype: torch.dtype
) -> torch.Tensor:
    with torch.inference_mode():
        images = normalize_pixels(torch.from_numpy(pixels), preprocessing).to(dtype)
        return torch.cat([pooled.float() for pooled in network.forward_features(images).values()], dim=1)
