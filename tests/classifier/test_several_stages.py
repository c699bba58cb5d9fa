"""A head on the pooled features of several stages: predicted, fused, shared, saved and cut as one on the last."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone
from regraft.classifier import (
    Classifier,
    assemble,
    classifier_bytes,
    load_classifier,
    load_head,
    save_classifier,
    save_head,
)
from regraft.classifier.classifier import normalize_pixels, predict_together, shared_stage
from regraft.images.preprocessing import Preprocessing

STAGES = ("stem", "blocks.1", "blocks.2")


@pytest.fixture
def joined(make_backbone: Callable, make_head: Callable, preprocessing: Preprocessing) -> Classifier:
    backbone = make_backbone()
    return assemble(backbone, make_head(backbone, stages=STAGES), preprocessing, views="mirror")


def test_the_head_takes_the_stages_side_by_side(joined: Classifier, draw_shapes: Callable) -> None:
    images = normalize_pixels(torch.from_numpy(draw_shapes(4)[0]), joined.preprocessing)
    with torch.inference_mode():
        features = joined.backbone.forward_features(images)
        expected = joined.head(torch.cat([features[stage] for stage in STAGES], dim=1))
        assert torch.equal(joined(images), expected)
    assert joined.head[0].in_features == 32 + 24 + 40


def test_fused_it_predicts_the_same(joined: Classifier, draw_shapes: Callable) -> None:
    pixels, _ = draw_shapes(6)
    # float32, summed in another order
    np.testing.assert_allclose(
        joined.for_inference().predict_pixels(pixels), joined.predict_pixels(pixels), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("border", [None, "stem", "blocks.0", "blocks.1", "blocks.2"])
def test_sharing_the_first_stages_does_not_change_a_bit(
    joined: Classifier, make_head: Callable, draw_shapes: Callable, border: str | None
) -> None:
    pixels, _ = draw_shapes(5)
    on_last = assemble(
        joined.backbone, make_head(joined.backbone, seed=3), joined.preprocessing, views="mirror"
    )
    models = [joined, on_last]
    together = predict_together(models, pixels, shared=border)
    for classifier, probabilities in zip(models, together, strict=True):
        assert np.array_equal(probabilities, classifier.predict_pixels(pixels))
    assert shared_stage(models) == "blocks.2"


def test_it_is_saved_and_loaded_whole(joined: Classifier, draw_shapes: Callable, tmp_path: Path) -> None:
    save_classifier(joined, tmp_path / "classifier.safetensors")
    loaded = load_classifier(tmp_path / "classifier.safetensors")
    pixels, _ = draw_shapes(3)
    assert loaded.stages == STAGES
    assert np.array_equal(loaded.predict_pixels(pixels), joined.predict_pixels(pixels))
    assert classifier_bytes(loaded) == classifier_bytes(joined)


def test_stages_behind_the_heads_last_are_left_out(
    make_backbone: Callable[..., Backbone], make_head: Callable, preprocessing: Preprocessing, tmp_path: Path
) -> None:
    backbone = make_backbone()
    save_head(make_head(backbone, stages=("stem", "blocks.0")), tmp_path / "head.safetensors")
    head = load_head(tmp_path / "head.safetensors")
    classifier = assemble(backbone, head, preprocessing, views="identity")
    assert (classifier.backbone.cut, list(classifier.backbone.stages)) == ("blocks.0", ["stem", "blocks.0"])
    assert backbone.cut == "blocks.2", "what was given is as it was"
    assert classifier.backbone.stages["stem"] is backbone.stages["stem"]
    assert not any(module.training for module in classifier.modules())


def test_a_head_of_other_stages_is_refused(
    make_backbone: Callable[..., Backbone], make_head: Callable, preprocessing: Preprocessing
) -> None:
    head = make_head(make_backbone(), stages=("stem", "blocks.2"))
    with pytest.raises(ValueError, match=r"cut at blocks\.0 has no blocks\.2: run train_head again"):
        assemble(make_backbone(cut="blocks.0"), head, preprocessing, views="identity")
    narrow = replace(head, stages=("stem", "blocks.1"))
    with pytest.raises(ValueError, match=r"fitted on 72 features; .* gives 56: run train_head again"):
        assemble(make_backbone(), narrow, preprocessing, views="identity")
