"""Frozen passes by OpenVINO: the same features but for rounding, whoever else runs at the same time."""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone
from regraft.classifier.classifier import normalize_pixels
from regraft.images.preprocessing import Preprocessing
from regraft.training import openvino_passes
from regraft.training.border import BorderInputs, border_inputs
from regraft.training.features import extract_features
from regraft.training.frozen import arithmetic_name
from regraft.training.openvino_passes import OpenVinoPasses
from regraft.training.reproducibility import Compute


@pytest.fixture
def by_openvino(compute: Compute) -> Compute:
    return dataclasses.replace(compute, engine="openvino")


@pytest.fixture
def features(
    make_backbone: Callable[..., Backbone], draw_shapes: Callable, preprocessing: Preprocessing
) -> Callable[..., np.ndarray]:
    def run(num_images: int, compute: Compute, *, pooling: str = "mean") -> np.ndarray:
        backbone, pixels = make_backbone(pooling=pooling), draw_shapes(num_images)[0]
        blocks = extract_features(backbone, pixels, preprocessing, batch_size=4, compute=compute)
        return np.concatenate(list(blocks))

    return run


@pytest.fixture
def border(
    make_backbone: Callable[..., Backbone], draw_shapes: Callable, preprocessing: Preprocessing, store: Any
) -> Callable[..., BorderInputs]:
    def run(num_images: int, compute: Compute, **changes: Any) -> BorderInputs:
        return border_inputs(
            make_backbone(),
            "blocks.0",
            draw_shapes(num_images)[0],
            preprocessing,
            batch_size=4,
            compute=compute,
            store=store,
            **changes,
        )

    return run


@pytest.mark.parametrize("pooling", ["mean", "mean_and_deviation"])
def test_features_are_those_of_pytorch(
    features: Callable[..., np.ndarray], compute: Compute, by_openvino: Compute, pooling: str
) -> None:
    expected = features(10, compute, pooling=pooling)  # the last batch is half full
    found = features(10, by_openvino, pooling=pooling)
    assert not np.array_equal(found, expected)  # else PyTorch has run it
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_bfloat16_keeps_the_means_of_float32(
    features: Callable[..., np.ndarray], compute: Compute, by_openvino: Compute
) -> None:
    expected = features(8, compute).mean(axis=0)  # as many as are compared
    half = dataclasses.replace(by_openvino, fast_dtype=torch.bfloat16)
    found = features(8, half).mean(axis=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_no_bit_depends_on_the_number_of_streams(
    features: Callable[..., np.ndarray], by_openvino: Compute
) -> None:
    one, three = (features(30, dataclasses.replace(by_openvino, num_streams=number)) for number in (1, 3))
    assert np.array_equal(one, three)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_at_the_border_are_those_of_pytorch(
    border: Callable[..., BorderInputs],
    compute: Compute,
    by_openvino: Compute,
    store: Any,
    dtype: torch.dtype,
) -> None:
    rows, views = np.arange(6), np.array([0, 1, 1, 0, 1, 0])

    def inputs(settings: Compute) -> tuple[torch.Tensor, torch.Tensor]:
        found = border(6, settings, views="mirror", stages=("stem", "blocks.1"))
        return found.batch(rows, views), found.pooled(rows, views)["stem"]

    expected = inputs(compute)
    found = inputs(dataclasses.replace(by_openvino, fast_dtype=dtype))
    tolerance = 1e-4 if dtype is torch.float32 else 0.05
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))
    assert store.num_computed == 4  # nothing of one engine is taken for the other's


def test_what_openvino_cannot_run_is_run_by_pytorch(
    features: Callable[..., np.ndarray],
    compute: Compute,
    by_openvino: Compute,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="regraft"):
        found = features(5, by_openvino, pooling="mean_and_covariance")
    assert np.array_equal(found, features(5, compute, pooling="mean_and_covariance"))
    assert caplog.text.count("is run by PyTorch: OpenVINO") == 1


def test_another_function_is_not_taken(
    features: Callable[..., np.ndarray],
    border: Callable[..., BorderInputs],
    compute: Compute,
    by_openvino: Compute,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = openvino_passes._Compiled._run

    def wrong(self: Any, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.flip(given, (1,)) for given in run(self, images)]

    monkeypatch.setattr(openvino_passes._Compiled, "_run", wrong)
    assert np.array_equal(features(5, by_openvino), features(5, compute))
    rows = np.arange(5)
    one, other = (border(5, each, views="identity") for each in (compute, by_openvino))
    assert torch.equal(one.batch(rows, 0 * rows), other.batch(rows, 0 * rows))


def test_its_use_is_reported_to_nobody(
    make_backbone: Callable[..., Backbone], draw_shapes: Callable, preprocessing: Preprocessing
) -> None:
    images = normalize_pixels(torch.from_numpy(draw_shapes(3)[0]), preprocessing)
    passes = OpenVinoPasses(
        make_backbone(),
        images,
        batch_size=3,
        dtype=torch.float32,
        num_streams=1,
        otherwise=lambda: pytest.fail("not run by OpenVINO"),
    )
    assert list(passes.features(images)) == list(make_backbone().stages)
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")


def test_what_is_kept_names_the_engine(compute: Compute, by_openvino: Compute) -> None:
    assert "openvino" in arithmetic_name(by_openvino)
    assert "openvino" not in arithmetic_name(compute)
