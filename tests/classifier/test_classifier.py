import copy
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from dirty_files import dirty_files
from PIL import Image

from regraft.backbones.backbone import tensor_digest
from regraft.backbones.fused_convolution import FusedConvolution
from regraft.classifier import Classifier
from regraft.classifier.classifier import normalize_pixels, predict_together, shared_stage
from regraft.images.decoding import UnreadableImageError, decode
from regraft.images.preprocessing import Preprocessing, apply

pytestmark = pytest.mark.usefixtures("one_thread")


def make_pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    sizes = [(50, 40), (32, 32), (20, 64)]
    return [Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def encode(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_pixels_are_normalised_by_hand(preprocessing: Preprocessing) -> None:
    pixels = torch.full((1, 2, 3, 3), 51, dtype=torch.uint8)  # a fifth of full scale
    images = normalize_pixels(pixels, preprocessing)
    assert images.shape == (1, 3, 2, 3)
    assert images.dtype is torch.float32
    # (0.2 − 0.5) / 0.25, (0.2 − 0.4) / 0.2, (0.2 − 0.3) / 0.3; 1e-6: float32
    assert images[0, :, 0, 0].tolist() == pytest.approx([-1.2, -1.0, -1 / 3], abs=1e-6)
    assert (images == images[:, :, :1, :1]).all()


def test_one_band_stands_for_three_equal_ones(preprocessing: Preprocessing) -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(2, 8, 16, 1)
    images = normalize_pixels(grey, preprocessing)
    assert torch.equal(images, normalize_pixels(grey.repeat(1, 1, 1, 3), preprocessing))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_logits_are_those_of_the_head_on_pooled_features(make_probe: Callable[..., Classifier]) -> None:
    probe = make_probe()
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        features = probe.backbone.forward_features(images)[probe.backbone.cut]
        assert torch.equal(probe(images), probe.head(features))


def test_images_are_predicted_as_their_prepared_pixels(
    make_probe: Callable[..., Classifier], preprocessing: Preprocessing
) -> None:
    probe, pictures = make_probe(), make_pictures()
    prepared = np.stack([apply(preprocessing, picture) for picture in pictures])
    probabilities = probe.predict_images(pictures)
    assert np.array_equal(probabilities, probe.predict_pixels(prepared))
    assert probabilities.shape == (3, 3)
    assert probabilities.dtype == np.float64
    assert np.allclose(probabilities.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert probabilities.std(axis=0).max() > 1e-3  # the three pictures are told apart


def test_opened_encoded_and_stored_images_are_predicted_alike(
    make_probe: Callable[..., Classifier], tmp_path: Path
) -> None:
    probe, pictures = make_probe(), make_pictures()
    encoded = [encode(picture) for picture in pictures]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, content in zip(paths, encoded, strict=True):
        path.write_bytes(content)
    expected = probe.predict_images(pictures)
    assert np.array_equal(probe.predict_images(encoded), expected)
    assert np.array_equal(probe.predict_images(paths), expected)


def test_dirty_files_are_read_by_prediction_as_by_training_or_refused_alike(
    make_probe: Callable[..., Classifier], preprocessing: Preprocessing, tmp_path: Path
) -> None:
    probe, path = make_probe(), tmp_path / "image"
    for file in dirty_files():
        path.write_bytes(file.data)
        if file.reason is None:
            expected = apply(preprocessing, decode(file.data).image)
            assert np.array_equal(probe.prepare(file.data), expected), file.name
            assert np.array_equal(probe.prepare(path), expected), file.name
            with Image.open(path) as image:
                assert np.array_equal(probe.prepare(image), expected), file.name
        else:
            with pytest.raises(UnreadableImageError, match=re.escape(file.reason)):
                probe.prepare(file.data)


def test_no_images_give_no_rows(make_probe: Callable[..., Classifier]) -> None:
    assert make_probe().predict_images([]).shape == (0, 3)


def test_what_is_no_image_is_refused(make_probe: Callable[..., Classifier]) -> None:
    with pytest.raises(UnreadableImageError):
        make_probe().predict_images([b"no image"])


def test_views_are_averaged_as_probabilities(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    pixels, _ = draw_shapes(5)
    plain, averaging = make_probe(views="identity"), make_probe(views="flips")
    flipped = [pixels, pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1]]
    expected = np.mean([plain.predict_pixels(np.ascontiguousarray(view)) for view in flipped], axis=0)
    # 1e-6: convolutions of float32
    np.testing.assert_allclose(averaging.predict_pixels(pixels), expected, rtol=0, atol=1e-6)
    assert abs(expected - plain.predict_pixels(pixels)).max() > 1e-4


def test_a_head_that_saw_the_mean_of_views_is_given_it(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    pixels, _ = draw_shapes(5)
    probe = make_probe(views="flips")
    with torch.inference_mode():
        images = normalize_pixels(torch.from_numpy(pixels), probe.preprocessing)
        of_views = [
            probe.backbone.forward_features(torch.flip(images, axes))[probe.backbone.cut]
            for axes in ([], [3], [2], [2, 3])
        ]
        expected = torch.softmax(probe.head(torch.stack(of_views).mean(dim=0)).double(), dim=1).numpy()
    apart = probe.predict_pixels(pixels)
    probe.views_seen = "mean"
    # 1e-6: convolutions of float32
    np.testing.assert_allclose(probe.predict_pixels(pixels), expected, rtol=0, atol=1e-6)
    assert not np.allclose(apart, expected, atol=1e-6)


def test_binary_probabilities_have_two_columns(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    probe = make_probe(("functional", "defective"))
    pixels, _ = draw_shapes(4)
    with torch.inference_mode():
        logits = probe(normalize_pixels(torch.from_numpy(pixels), probe.preprocessing))
    probabilities = probe.predict_pixels(pixels)
    assert probe.label_names == ("functional", "defective")
    # 1e-12: both are float64 from the same logits
    np.testing.assert_allclose(
        probabilities[:, 1], torch.sigmoid(logits.double())[:, 0].numpy(), rtol=0, atol=1e-12
    )


def test_predicting_leaves_no_gradients_behind(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    probe = make_probe()
    probe.requires_grad_(True)
    probe.predict_pixels(draw_shapes(2)[0])
    assert all(parameter.grad is None for parameter in probe.parameters())
    assert not probe.training


def test_classifiers_that_share_stages_predict_together_what_each_predicts_alone(
    make_probe: Callable[..., Classifier],
) -> None:
    probe = make_probe()
    tuned = copy.deepcopy(probe)
    with torch.no_grad():
        next(tuned.backbone.stages["blocks.1"].parameters()).mul_(1.1)
        tuned.head[0].bias.add_(0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert shared_stage([probe, tuned]) == "blocks.0"
    for shared in ("stem", "blocks.0"):
        together = predict_together([probe, tuned], pixels, shared=shared)
        assert np.array_equal(together[0], probe.predict_pixels(pixels))
        assert np.array_equal(together[1], tuned.predict_pixels(pixels))
    assert not np.array_equal(together[0], together[1])


def test_same_network_shares_every_stage_and_another_none(make_probe: Callable[..., Classifier]) -> None:
    probe = make_probe()
    assert shared_stage([probe, make_probe()]) == probe.backbone.cut
    other = copy.deepcopy(probe)
    with torch.no_grad():
        next(other.backbone.stages["stem"].parameters()).add_(0.1)
    assert shared_stage([probe, other]) is None
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    alone = [classifier.predict_pixels(pixels) for classifier in (probe, other)]
    assert all(map(np.array_equal, predict_together([probe, other], pixels, shared=None), alone))
    cut = probe.backbone.cut
    assert np.array_equal(predict_together([probe, make_probe()], pixels, shared=cut)[1], alone[0])


def test_inference_form_predicts_the_same_faster_parts(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    classifier, (pixels, _) = make_probe(("disc", "square", "cross"), views="flips"), draw_shapes(6)
    before = tensor_digest(classifier)
    faster = classifier.for_inference()
    assert [module for module in faster.modules() if isinstance(module, FusedConvolution)]
    assert tensor_digest(classifier) == before
    # 1e-6: norms folded in, sums of float32 rounded otherwise
    np.testing.assert_allclose(
        faster.predict_pixels(pixels), classifier.predict_pixels(pixels), rtol=0, atol=1e-6
    )


def test_many_images_are_predicted_in_batches(
    make_probe: Callable[..., Classifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, pictures = make_probe(), [make_pictures()[number % 2] for number in range(5)]
    whole = classifier.predict_images(pictures)
    monkeypatch.setattr("regraft.classifier.classifier._PREDICT_BATCH", 2)
    sizes: list[int] = []
    predict_pixels = classifier.predict_pixels
    monkeypatch.setattr(
        classifier, "predict_pixels", lambda pixels: (sizes.append(len(pixels)), predict_pixels(pixels))[1]
    )
    parts = classifier.predict_images(pictures)
    assert sizes == [2, 2, 1]
    # 1e-6: sums of float32 over batches of another size
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6)
