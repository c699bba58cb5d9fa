"""Norms that adapt: PyTorch's own statistics for one micro-batch, and the same bits for any number of streams."""

import copy

import pytest
import torch
from torch import nn

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.training.batch_norm import AdaptingNorms
from regraft.training.folding import FoldedConvolution
from regraft.training.mixed import mix_precision


def random_backbone(name: str, *, cut: str) -> Backbone:
    weights, _ = load_weights(get_spec(name), RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=cut)
    freeze(backbone)
    return backbone


def images(count: int, *, size: int = 64, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(count, 3, size, size, generator=generator) + 1


def adapt(backbone: Backbone, batches: list[torch.Tensor], *, stages: list[str]) -> list[torch.Tensor]:
    """One update's worth of micro-batches; what each gave."""
    norms = AdaptingNorms(backbone, stages)
    bare, given, seen = norms.without_statistics(backbone), [], []
    for batch in batches:
        with torch.no_grad(), norms.observing(len(batch)) as observed:
            given.append(bare(batch))
        seen.append(observed)
    norms.move(seen)
    return given


# timm's norms, which bring their activation with them, and torchvision's
@pytest.mark.parametrize(("name", "cut"), [("efficientnet_lite0", "blocks.1"), ("resnet18", "layer2")])
def test_one_micro_batch_gives_what_pytorchs_training_mode_gives(name: str, cut: str) -> None:
    backbone = random_backbone(name, cut=cut)
    expected = copy.deepcopy(backbone)
    for module in expected.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    with torch.no_grad():
        activation = expected(images(5))
    (given,) = adapt(backbone, [images(5)], stages=list(backbone.stages))
    assert torch.equal(given, activation)
    running = {key: value for key, value in expected.state_dict().items() if "running" in key}
    assert running
    for key, value in backbone.state_dict().items():
        if key in running:
            # 1e-5: the same moments, summed in another order
            torch.testing.assert_close(value, running[key], rtol=1e-5, atol=1e-5)
            assert "var" not in key or not torch.allclose(value, torch.ones_like(value)), "it was 1 before"


def test_statistics_move_by_the_weighted_mean_over_micro_batches() -> None:
    whole = random_backbone("resnet18", cut="stem")
    first, second = images(6), images(2, seed=1)
    before = whole.stages["stem"].bn1.running_var.clone()
    adapt(whole, [first, second], stages=["stem"])
    with torch.no_grad():
        parts = [whole.stages["stem"].conv1(batch).var(dim=(0, 2, 3)) for batch in (first, second)]
    expected = 0.9 * before + 0.1 * (6 * parts[0] + 2 * parts[1]) / 8
    torch.testing.assert_close(whole.stages["stem"].bn1.running_var, expected, rtol=1e-5, atol=1e-6)


def test_norms_of_other_stages_neither_move_nor_look_at_the_batch() -> None:
    backbone = random_backbone("resnet18", cut="layer1")
    before = copy.deepcopy(backbone.state_dict())
    adapt(backbone, [images(4)], stages=["layer1"])
    moved = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith("stages.layer1") and "running" in key for key in moved)


def test_a_single_value_a_channel_is_refused_with_what_to_do() -> None:
    backbone = random_backbone("resnet18", cut="layer4")
    with pytest.raises(
        ValueError, match=r"adapt needs more than one value a channel.*one image of 1×1.*normalize.size"
    ):
        adapt(backbone, [images(1, size=32)], stages=["layer4"])


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_convolutions_before_adapting_norms_train_in_mixed_precision_too(name: str) -> None:
    backbone = random_backbone(name, cut=get_spec(name).stages[2])
    backbone.requires_grad_(True)
    stages = list(backbone.stages)
    norms = AdaptingNorms(backbone, stages)
    bare = norms.without_statistics(backbone)
    mixed = mix_precision(bare, stages[0], images(4), dtype=torch.float32)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert len([module for module in mixed.modules() if isinstance(module, FoldedConvolution)]) == len(
        convolutions
    )
    assert not [module for module in mixed.modules() if getattr(module, "norm", None) is not None]
    parameters = list(backbone.parameters())
    weights = torch.randn(backbone.feature_dim, generator=torch.Generator().manual_seed(2))

    def gradients(network: Backbone) -> torch.Tensor:
        result = backbone.pool(network(images(6, seed=3)).float()) @ weights
        return torch.cat([part.flatten() for part in torch.autograd.grad(result.square().mean(), parameters)])

    expected, given = gradients(bare), gradients(mixed)
    # 1e-3: float32 through norms of the batch, in another order
    assert (expected - given).norm() <= 1e-3 * expected.norm()
