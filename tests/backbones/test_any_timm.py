"""Networks of timm that have no row: cut where their parts run in turn, refused where they do not."""

import pytest
import timm
import torch
from random_networks import random_images

from regraft.backbones.architectures import build_initialised
from regraft.backbones.backbone import build_backbone
from regraft.backbones.weights import PretrainedWeights, RandomWeights, input_contract, load_weights
from regraft.backbones.zoo import get_spec

# Small networks of different kinds: maps, channels last, tokens with a class token, tokens without one,
# a norm or an attention behind the pooling.
ARCHITECTURES = [
    "resnet10t",
    "test_efficientnet",
    "test_convnext",
    "test_mambaout",
    "swin_tiny_patch4_window7_224",
    "test_vit",
    "test_vit3",
    "test_vit4",
    "mixer_s32_224",
    "lcnet_035",
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_of_any_timm_network_equal_it_before_its_pooling(architecture: str) -> None:
    name = f"timm:{architecture}"
    spec = get_spec(name)
    network = build_initialised(spec, seed=4)
    backbone = build_backbone(name, weights=network.state_dict(), cut=None)
    assert not any(tensor.is_meta for tensor in [*backbone.parameters(), *backbone.buffers()])
    images = random_images(spec.fixed_size or max(64, spec.min_size))
    with torch.inference_mode():
        wanted = network.forward_features(images)
        features = backbone.forward_features(images)
        activation = backbone(images)
        if spec.family == "timm_vit":
            torch.testing.assert_close(
                backbone.pool(activation), network.forward_head(wanted, pre_logits=True)
            )
        else:
            is_channels_last = getattr(network, "output_fmt", "") == "NHWC"
            torch.testing.assert_close(activation, wanted.permute(0, 3, 1, 2) if is_channels_last else wanted)
    assert {stage: pooled.shape[1] for stage, pooled in features.items()} == backbone.feature_dims
    inside = {id(tensor) for stage in spec.split(network).values() for tensor in stage.parameters()}
    outside = {
        key.partition(".")[0] for key, tensor in network.named_parameters() if id(tensor) not in inside
    }
    assert outside <= set(spec.classifier)


@pytest.mark.parametrize("architecture", ["hrnet_w18_small", "beit_base_patch16_224", "vgg11", "pit_ti_224"])
def test_networks_whose_parts_do_not_run_in_turn_are_refused(architecture: str) -> None:
    with pytest.raises(
        ValueError, match=f"timm:{architecture} cannot be cut into stages that run one after another: "
    ):
        get_spec(f"timm:{architecture}")


def test_weights_of_any_timm_network_are_timms_own() -> None:
    spec = get_spec("timm:resnet10t")
    assert spec.weights_names == ("c3_in1k",)
    config = timm.get_pretrained_cfg("resnet10t.c3_in1k")
    contract = input_contract(spec, PretrainedWeights(kind="pretrained"))
    assert contract.size == config.input_size[-1]
    assert contract.resize_size == int(contract.size / config.crop_pct)
    assert (contract.mean, contract.std, contract.interpolation) == (
        config.mean,
        config.std,
        config.interpolation,
    )


def test_random_weights_of_any_timm_network_are_those_of_their_seed() -> None:
    spec = get_spec("timm:test_efficientnet")
    receipts = [load_weights(spec, RandomWeights(kind="random", seed=seed))[1].sha256 for seed in (0, 0, 1)]
    assert receipts[0] == receipts[1] != receipts[2]


def test_an_unknown_timm_network_is_answered_with_near_names() -> None:
    with pytest.raises(
        ValueError, match=r"unknown network of timm 'resnet3'; known: .*in all\)\. Did you mean 'resnet34'"
    ):
        get_spec("timm:resnet3")
