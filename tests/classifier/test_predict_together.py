import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from regraft.classifier import Classifier
from regraft.classifier.classifier import predict_together, shared_stage

pytestmark = pytest.mark.usefixtures("one_thread")


def tuned_from(probe: Classifier, *, first_stage: str) -> Classifier:
    """A copy whose stages from one on, and whose head, have moved a little."""
    tuned = copy.deepcopy(probe)
    stages = list(tuned.backbone.stages)
    with torch.no_grad():
        for stage in stages[stages.index(first_stage) :]:
            for parameter in tuned.backbone.stages[stage].parameters():
                parameter.mul_(1.05)
        tuned.head[0].weight.mul_(0.9)
    return tuned


@pytest.mark.parametrize(
    ("first_stage", "shared"), [("stem", None), ("blocks.0", "stem"), ("blocks.2", "blocks.1")]
)
@pytest.mark.parametrize("views", ["identity", "flips"])
def test_together_gives_the_bits_of_each_alone(
    make_probe: Callable[..., Classifier],
    draw_shapes: Callable,
    first_stage: str,
    shared: str | None,
    views: str,
) -> None:
    probe = make_probe(views=views)
    models = [probe, tuned_from(probe, first_stage=first_stage)]
    assert shared_stage(models) == shared
    pixels, _ = draw_shapes(5)
    together = predict_together(models, pixels, shared=shared)
    for model, probabilities in zip(models, together, strict=True):
        assert np.array_equal(probabilities, model.predict_pixels(pixels))
    assert not np.array_equal(*together)


def test_another_head_alone_shares_the_whole_backbone(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    probe, other = make_probe(), make_probe()
    with torch.no_grad():
        other.head[0].bias.add_(1)
    assert shared_stage([probe, other]) == "blocks.2"
    pixels, _ = draw_shapes(3)
    together = predict_together([probe, other], pixels, shared="blocks.2")
    assert np.array_equal(together[1], other.predict_pixels(pixels))


def test_a_buffer_that_differs_ends_what_is_shared(make_probe: Callable[..., Classifier]) -> None:
    probe, other = make_probe(), make_probe()
    buffers = dict(other.backbone.stages["blocks.1"].named_buffers())
    next(tensor for name, tensor in buffers.items() if name.endswith("running_var")).add_(1e-3)
    assert shared_stage([probe, other]) == "blocks.0"


def test_other_weights_views_or_preprocessing_share_nothing(make_probe: Callable[..., Classifier]) -> None:
    probe = make_probe()
    assert shared_stage([probe, make_probe(seed=1)]) is None
    assert shared_stage([probe, make_probe(views="mirror")]) is None
    other = make_probe()
    other.preprocessing = other.preprocessing.model_copy(update={"mean": (0.1, 0.4, 0.3)})
    assert shared_stage([probe, other]) is None


def test_another_pooling_shares_nothing(make_probe: Callable[..., Classifier]) -> None:
    probe, other = make_probe(), make_probe()
    other.backbone.pooling = "mean_and_deviation"
    assert shared_stage([probe, other]) is None


def test_one_alone_shares_all_with_itself(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    probe, (pixels, _) = make_probe(), draw_shapes(2)
    assert shared_stage([probe]) == "blocks.2"
    (alone,) = predict_together([probe], pixels, shared="blocks.2")
    assert np.array_equal(alone, probe.predict_pixels(pixels))
