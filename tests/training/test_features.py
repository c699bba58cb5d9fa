import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.classifier.classifier import normalize_pixels
from regraft.images.preprocessing import Preprocessing
from regraft.training.feature_columns import stage_columns
from regraft.training.features import extract_features
from regraft.training.reproducibility import Compute


def test_columns_of_stages_by_hand() -> None:
    columns = stage_columns({"stem": 3, "blocks.0": 2, "blocks.1": 4})
    assert columns == {"stem": slice(0, 3), "blocks.0": slice(3, 5), "blocks.1": slice(5, 9)}


def test_features_are_the_backbones_own(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, (pixels, _) = make_backbone(), draw_shapes(5)
    blocks = extract_features(backbone, pixels, preprocessing, batch_size=5, compute=compute)
    features = blocks.compute(0, 5)
    with torch.inference_mode():
        expected = backbone.forward_features(normalize_pixels(torch.from_numpy(pixels), preprocessing))
    columns = stage_columns(backbone.feature_dims)
    assert list(columns) == ["stem", "blocks.0", "blocks.1", "blocks.2"]
    for stage, values in expected.items():
        # 1e-4 of the features' spread: norms are folded into convolutions, and sums are rounded in another order
        np.testing.assert_allclose(
            features[:, columns[stage]], values.numpy(), rtol=0, atol=1e-4 * values.numpy().std()
        )
    assert blocks.shape == features.shape == (5, 32 + 16 + 24 + 40)
    assert features.dtype == np.float32
    assert blocks.dtype == "float32"


def test_block_boundaries_and_streams_do_not_change_a_bit(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, (pixels, _) = make_backbone(), draw_shapes(37)
    one = extract_features(backbone, pixels, preprocessing, batch_size=2, compute=compute)
    parts = list(one)
    assert [len(part) for part in parts] == [32, 5]
    whole = one.compute(0, 37)
    assert np.array_equal(np.concatenate(parts), whole)
    two_streams = dataclasses.replace(compute, num_streams=2)
    two = extract_features(backbone, pixels, preprocessing, batch_size=2, compute=two_streams)
    assert np.array_equal(two.compute(0, 37), whole)


def test_size_of_a_batch_changes_rounding_only(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, (pixels, _) = make_backbone(), draw_shapes(7)
    sizes = [
        extract_features(backbone, pixels, preprocessing, batch_size=size, compute=compute).compute(0, 7)
        for size in (1, 3, 8)
    ]
    # 1e-4 of the features' spread: convolutions of float32, summed in another order
    for features in sizes[1:]:
        np.testing.assert_allclose(features, sizes[0], rtol=0, atol=1e-4 * sizes[0].std())


def test_bfloat16_is_near_and_the_given_backbone_is_not_changed(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, (pixels, _) = make_backbone(), draw_shapes(6)
    before = tensor_digest(backbone)
    full, half = (
        extract_features(
            backbone,
            pixels,
            preprocessing,
            batch_size=6,
            compute=dataclasses.replace(compute, fast_dtype=dtype),
        ).compute(0, 6)
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    # bfloat16 has 8 bits: features stay within a few per cent of their spread
    assert np.abs(full - half).max() < 0.1 * full.std()
    assert tensor_digest(backbone) == before


def test_nothing_is_computed_before_it_is_asked_for(
    make_backbone: Callable[..., Backbone], preprocessing: Preprocessing, compute: Compute
) -> None:
    no_pixels = np.empty((10**6, 0, 0, 3), dtype=np.uint8)
    blocks = extract_features(make_backbone(), no_pixels, preprocessing, batch_size=8, compute=compute)
    assert blocks.shape == (10**6, 112)
    with pytest.raises(ValueError, match="got 0×0"):
        blocks.compute(0, 1)


def test_views_follow_one_another_and_each_is_that_of_its_image(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> None:
    backbone, (pixels, _) = make_backbone(), draw_shapes(21)
    blocks = extract_features(backbone, pixels, preprocessing, batch_size=2, compute=compute, views=(1, 2))
    parts = list(blocks)
    assert [len(part) for part in parts] == [32, 10]  # the first ends within the second view
    features = np.concatenate(parts)
    for number, flipped in enumerate((pixels[:, :, ::-1], pixels[:, ::-1])):
        alone = extract_features(
            backbone, np.ascontiguousarray(flipped), preprocessing, batch_size=2, compute=compute
        )
        # 1e-4 of the features' spread: batches that hold other images may be summed in another order
        of_view = features[number * 21 : (number + 1) * 21]
        np.testing.assert_allclose(of_view, alone.compute(0, 21), rtol=0, atol=1e-4 * of_view.std())
