"""Running, freezing and hashing a backbone; one small network stands for all."""

import copy
import random

import numpy as np
import pytest
import torch
from random_networks import random_images, random_network

from regraft.backbones.backbone import Backbone, build_backbone, freeze, tensor_digest
from regraft.backbones.covariance import root_of_covariance
from regraft.backbones.pooling import Pooling
from regraft.backbones.spec import WeightsError
from regraft.backbones.weights import WeightsReceipt
from regraft.backbones.zoo import get_spec

NAME = "efficientnet_lite0"


@pytest.fixture
def backbone() -> Backbone:
    _, state = random_network(get_spec(NAME))
    return build_backbone(NAME, weights=state, cut=None)


def test_ranges_joined_anywhere_equal_the_whole(backbone: Backbone) -> None:
    images = random_images(64)
    with torch.inference_mode():
        whole = backbone(images)
        for first, second in zip(backbone.spec.stages, backbone.spec.stages[1:], strict=False):
            border = backbone.forward_range(images, None, first)
            assert torch.equal(backbone.forward_range(border, second, None), whole)


def test_a_range_that_does_not_exist_is_refused(backbone: Backbone) -> None:
    images = random_images(64)
    with pytest.raises(
        ValueError, match=r"stage blocks\.1 lies before blocks\.2; in depth order: stem, blocks\.0"
    ):
        backbone.forward_range(images, "blocks.2", "blocks.1")
    with pytest.raises(
        ValueError,
        match=r"unknown stage of efficientnet_lite0 up to its cut 'head_conv'; known: stem, .*conv_head\.",
    ):
        backbone.forward_range(images, None, "head_conv")


def test_a_cut_backbone_holds_no_more_than_its_stages() -> None:
    _, state = random_network(get_spec(NAME))
    cut = build_backbone(NAME, weights=state, cut="blocks.3")
    assert list(cut.stages) == ["stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3"]
    assert (cut.cut, cut.feature_dim) == ("blocks.3", 80)
    assert all(key.startswith(("stages.stem.", "stages.blocks_")) for key in cut.state_dict())
    with pytest.raises(ValueError, match="unknown stage of efficientnet_lite0 up to its cut 'conv_head'"):
        cut.forward_range(random_images(64), None, "conv_head")


def test_stages_are_found_by_their_dotted_names(backbone: Backbone) -> None:
    assert "blocks.6" in backbone.stages
    assert "blocks_6" not in backbone.stages
    assert tuple(backbone.stages.keys()) == tuple(backbone.stages) == backbone.spec.stages
    assert [name for name, _ in backbone.stages.items()] == list(backbone.spec.stages)
    assert backbone.stages["blocks.6"] is list(backbone.stages.values())[7]
    assert len(backbone.stages) == 9


def test_pooling_means_over_positions(backbone: Backbone) -> None:
    activation = torch.arange(24.0).reshape(1, 2, 3, 4)
    assert backbone.pool(activation).tolist() == [[5.5, 17.5]]
    assert backbone.pool(activation[0]).tolist() == [[4.0, 5.0, 6.0, 7.0], [16.0, 17.0, 18.0, 19.0]]
    assert torch.equal(backbone.pool(activation[0, 0]), activation[0, 0])


def test_means_of_half_precision_are_not_rounded_to_it(backbone: Backbone) -> None:
    activation = torch.tensor([1.0, 1.0078125]).reshape(1, 1, 1, 2).expand(2, 16, 3, 2).bfloat16()
    pooled = backbone.pool(activation)
    assert pooled.dtype is torch.float32
    assert torch.equal(pooled, torch.full((2, 16), 1.00390625))


def test_pooling_takes_the_class_token_where_the_network_does() -> None:
    _, state = random_network(get_spec("dinov2_small"))
    backbone = build_backbone("dinov2_small", weights=state, cut="blocks.0")
    tokens = torch.randn(2, 5, 384)
    assert torch.equal(backbone.pool(tokens), tokens[:, 0])


def test_deviations_over_positions_stand_behind_the_means() -> None:
    backbone = small(pooling="mean_and_deviation")
    activation = torch.randn(
        3, 5, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).float()
    deviation, mean = torch.std_mean(activation.double(), dim=(2, 3), correction=0)
    expected = torch.cat([mean, deviation], dim=1)
    torch.testing.assert_close(backbone.pool(activation).double(), expected, rtol=1e-5, atol=1e-5)
    tokens = activation.flatten(2).transpose(1, 2)
    torch.testing.assert_close(backbone.pool(tokens).double(), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(backbone.pool(activation[:, :, 0, 0]), activation[:, :, 0, 0])
    # of numbers near each other far from 0, in bfloat16: the deviation does not drown in the mean's rounding
    far = 100 + torch.tensor([0.0, 0.5, 1.0, 0.5]).reshape(1, 1, 2, 2)
    assert backbone.pool(far.bfloat16())[0, 1].item() == pytest.approx(0.125**0.5, rel=1e-3)


def test_a_class_token_is_kept_and_the_deviation_is_that_of_the_other_tokens() -> None:
    spec = get_spec("vit_b_16")
    backbone = Backbone(spec, {}, {}, pooling="mean_and_deviation")
    tokens = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    pooled = backbone.pool(tokens)
    assert torch.equal(pooled[:, :3], tokens[:, 0])
    torch.testing.assert_close(pooled[:, 3:], tokens[:, 1:].std(dim=1, correction=0), rtol=1e-4, atol=1e-4)


def test_the_root_of_the_covariance_stands_behind_the_means() -> None:
    backbone = small(pooling="mean_and_covariance")
    activation = torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    pooled = backbone.pool(activation)
    assert torch.equal(pooled[:, :5], activation.mean(dim=(2, 3)))
    assert torch.equal(pooled[:, 5:], root_of_covariance(activation.flatten(2)))
    torch.testing.assert_close(backbone.pool(activation.flatten(2).transpose(1, 2)), pooled)
    assert backbone.pool(activation.bfloat16()).dtype is torch.float32
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone.forward_features(images)
    assert {name: values.shape[1] for name, values in features.items()} == backbone.feature_dims
    assert backbone.feature_dims["stem"] == 32 + 32 * 33 // 2


def test_means_over_a_grid_stand_behind_the_means_and_tell_where() -> None:
    backbone = small(pooling="mean_and_grid")
    activation = torch.randn(3, 5, 14, 21, generator=torch.Generator().manual_seed(0))
    pooled = backbone.pool(activation)
    assert torch.equal(pooled[:, :5], activation.mean(dim=(2, 3)))
    places = pooled[:, 5:].reshape(3, 5, 7, 7)
    torch.testing.assert_close(places[1, 2, 3, 4], activation[1, 2, 6:8, 12:15].mean())
    square = activation[:, :, :, :14]
    tokens = square.flatten(2).transpose(1, 2)
    torch.testing.assert_close(backbone.pool(tokens), backbone.pool(square))
    with pytest.raises(ValueError, match="5 tokens are no square"):
        backbone.pool(torch.randn(2, 5, 3))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone.forward_features(images)  # maps smaller than the grid, too
    assert {name: values.shape[1] for name, values in features.items()} == backbone.feature_dims
    assert backbone.feature_dims["stem"] == 32 * 50


def test_a_channel_that_is_the_same_everywhere_has_a_gradient() -> None:
    activation = torch.ones(1, 2, 3, 3, requires_grad=True)
    small(pooling="mean_and_deviation").pool(activation).sum().backward()
    assert torch.isfinite(activation.grad).all()


def test_widths_are_those_of_the_pooling() -> None:
    backbone, plain = small(pooling="mean_and_deviation"), small()
    assert backbone.feature_dims == {stage: 2 * width for stage, width in plain.feature_dims.items()}
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = backbone.forward_features(images)
        for stage, values in plain.forward_features(images).items():
            assert features[stage].shape[1] == backbone.feature_dims[stage]
            assert torch.equal(features[stage][:, : values.shape[1]], values)
    assert backbone.up_to("blocks.0").pooling == "mean_and_deviation"


def small(*, pooling: Pooling = "mean") -> Backbone:
    _, state = random_network(get_spec(NAME))
    return build_backbone(NAME, weights=state, cut="blocks.1", pooling=pooling)


def test_pooling_refuses_other_shapes(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match=r"2, 3 or 4 axes, got shape \(3,\)"):
        backbone.pool(torch.zeros(3))


def test_weights_are_copied() -> None:
    _, state = random_network(get_spec(NAME))
    before = {key: tensor.clone() for key, tensor in state.items()}
    backbone = build_backbone(NAME, weights=state, cut=None)
    with torch.no_grad():
        for tensor in [*backbone.parameters(), *backbone.buffers()]:
            tensor.fill_(1)
    assert all(torch.equal(state[key], tensor) for key, tensor in before.items())


def test_half_precision_weights_become_the_networks_own_type() -> None:
    _, state = random_network(get_spec(NAME))
    half = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    backbone = build_backbone(NAME, weights=half, cut=None)
    assert {tensor.dtype for tensor in backbone.parameters()} == {torch.float32}


def test_weights_of_another_network_are_refused() -> None:
    _, state = random_network(get_spec("resnet18"))
    with pytest.raises(
        WeightsError, match=r"efficientnet_lite0 does not fit the architecture: missing conv_stem\.weight"
    ):
        build_backbone(NAME, weights=state, cut=None)


def test_a_backbone_without_weights_takes_those_of_another() -> None:
    _, state = random_network(get_spec(NAME))
    receipt = WeightsReceipt("random", "nowhere", "0" * 64, "none")
    source = build_backbone(NAME, weights=state, cut="blocks.4", receipt=receipt)
    target = build_backbone(NAME, weights=None, cut="blocks.4")
    assert tensor_digest(source) != tensor_digest(target)
    target.load_state_dict(source.state_dict())
    assert tensor_digest(source) == tensor_digest(target)
    assert (source.receipt, target.receipt) == (receipt, None)


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first, second = (tensor_digest(build_backbone(NAME, weights=None, cut=None)) for _ in range(2))
    assert first == second
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


def test_a_backbone_is_built_in_evaluation_mode(backbone: Backbone) -> None:
    assert not any(module.training for module in backbone.modules())
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_digest_sees_what_moves_a_norm_and_freezing_prevents_it(backbone: Backbone) -> None:
    freeze(backbone)
    before = tensor_digest(backbone)
    backbone(random_images(64))
    assert tensor_digest(backbone) == before
    backbone.train()  # the fault it is there to find: running statistics move without any gradient
    backbone(random_images(64))
    assert tensor_digest(backbone) != before


def test_digest_sees_every_tensor_name_and_shape() -> None:
    module = torch.nn.BatchNorm2d(4)
    digests = {tensor_digest(module)}
    for change in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        other = copy.deepcopy(module)
        with torch.no_grad():
            getattr(other, change).view(-1)[0] += 1
        digests.add(tensor_digest(other))
    renamed = torch.nn.Module()
    renamed.norm = copy.deepcopy(module)
    digests |= {tensor_digest(renamed), tensor_digest(torch.nn.BatchNorm1d(4).double())}
    assert len(digests) == 8
    assert tensor_digest(module.to(torch.bfloat16)) == tensor_digest(copy.deepcopy(module))
