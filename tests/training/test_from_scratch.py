"""A start without pretraining: nothing of the probe's weights, all of its shape, the same for a seed."""

from collections.abc import Callable

import pytest
import torch

from regraft.backbones.backbone import tensor_digest
from regraft.classifier import Classifier, classifier_bytes
from regraft.training.from_scratch import from_scratch


def test_nothing_learnt_is_left(fitted_probe: Classifier) -> None:
    before = classifier_bytes(fitted_probe)
    start = from_scratch(fitted_probe, seed=1)
    assert classifier_bytes(fitted_probe) == before
    for name, stage in start.backbone.stages.items():
        assert tensor_digest(stage) != tensor_digest(fitted_probe.backbone.stages[name])
    assert start.backbone.cut == fitted_probe.backbone.cut
    assert start.backbone.receipt is not None
    assert start.backbone.receipt.name == "random-1"
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    probabilities = start.target.answers(start(images))
    torch.testing.assert_close(probabilities, torch.full_like(probabilities, 1 / 3))


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator(fitted_probe: Classifier) -> None:
    state = torch.get_rng_state()
    one, again, other = (classifier_bytes(from_scratch(fitted_probe, seed=seed)) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert torch.equal(torch.get_rng_state(), state)


def test_hidden_layers_of_a_head_begin_anew(make_probe: Callable[..., Classifier]) -> None:
    from regraft.heads.layers import MlpLayers

    probe = make_probe()
    layers = MlpLayers(kind="mlp", hidden_sizes=(8,), dropout=0.0)
    probe.layers, probe.head = layers, layers.build(probe.backbone.feature_dim, 3)
    start = from_scratch(probe, seed=0)
    assert not torch.equal(start.head[0].weight, probe.head[0].weight)
    assert start.head[0].weight.std() > 0.05
    assert not start.head[-1].weight.any()


def test_a_kernel_head_cannot_begin_anew(make_probe: Callable[..., Classifier]) -> None:
    from regraft.heads.layers import KernelLayers

    probe = make_probe()
    layers = KernelLayers(kind="kernel", num_centres=5)
    probe.layers, probe.head = layers, layers.build(probe.backbone.feature_dim, 3)
    with pytest.raises(ValueError, match="a kernel head measures nearness"):
        from_scratch(probe, seed=0)
