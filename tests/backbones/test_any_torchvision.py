"""Networks of torchvision that have no row: cut like the row of their class, or at their children."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from random_networks import random_images, random_network
from test_zoo import assert_every_parameter_is_in_one_stage, input_of_classifier
from torch import nn

from regraft.backbones.any_torchvision import spec_of_torchvision
from regraft.backbones.backbone import build_backbone
from regraft.backbones.offers import sha256_in_name
from regraft.backbones.splitting import SPLITTERS, split_torchvision_chain
from regraft.backbones.zoo import get_spec

# One or more of every class of network that torchvision has.
ARCHITECTURES = [
    "alexnet",
    "convnext_small",
    "densenet169",
    "efficientnet_v2_m",
    "googlenet",
    "inception_v3",
    "maxvit_t",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "regnet_y_400mf",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "swin_v2_t",
    "vgg11_bn",
    "vit_b_32",
]


def test_every_class_of_torchvision_is_tried() -> None:
    # What distinguishes the names of one class (size, groups, batch norm) changes no forward pass.
    families = ("swin_v2", "efficientnet_v2", "regnet_x", "regnet_y", "inception_v3")
    tried = {name.partition("_")[0].rstrip("0123456789") for name in ARCHITECTURES} | {"resnet", "wide"}
    for name in torchvision.models.list_models(module=torchvision.models):
        assert name.startswith(families) or name.partition("_")[0].rstrip("0123456789") in tried, name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_of_any_torchvision_network_equal_it_before_its_classifier(architecture: str) -> None:
    spec = get_spec(f"torchvision:{architecture}")
    network, state = random_network(spec)
    backbone = build_backbone(spec.name, weights=state, cut=None)
    images = random_images(spec.fixed_size or max(spec.min_size, 70))
    with torch.inference_mode():
        wanted = input_of_classifier(network, spec.classifier[0], images)
        got = backbone(images)
        pooled = backbone.forward_features(images)
        if got.ndim == 4 and wanted.ndim == 2:
            got = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))(got).flatten(1)
        elif got.ndim == 3:
            got = backbone.pool(got)
        smallest = spec.fixed_size or spec.min_size
        backbone(torch.zeros(1, 3, smallest, smallest))
    assert wanted.std(dim=0).max() > 0.01 * wanted.abs().max(), "the comparison must depend on the image"
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert {stage: features.shape[1] for stage, features in pooled.items()} == backbone.feature_dims
    assert_every_parameter_is_in_one_stage(spec, network)


def _in_another_order(model: nn.Module) -> dict[str, nn.Module]:
    return dict(reversed(split_torchvision_chain(model).items()))


def _without_the_last(model: nn.Module) -> dict[str, nn.Module]:
    return dict(list(split_torchvision_chain(model).items())[:-1])


@pytest.mark.parametrize("split", [_in_another_order, _without_the_last])
def test_a_network_whose_parts_do_not_run_in_turn_is_refused(
    split: Callable[[nn.Module], dict[str, nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPLITTERS, "torchvision_chain", split)
    spec_of_torchvision.cache_clear()
    with pytest.raises(
        ValueError, match="torchvision:mnasnet0_5 cannot be cut into stages that run one after"
    ):
        get_spec("torchvision:mnasnet0_5")


def test_weights_of_any_torchvision_network_are_those_for_its_image_size() -> None:
    regnet, vit = get_spec("torchvision:regnet_y_400mf"), get_spec("torchvision:vit_b_16")
    assert regnet.weights_names == ("IMAGENET1K_V1", "IMAGENET1K_V2")
    assert vit.weights_names == ("IMAGENET1K_V1", "IMAGENET1K_SWAG_LINEAR_V1")  # E2E's are for 384 px
    member = torchvision.models.RegNet_Y_400MF_Weights.IMAGENET1K_V1
    assert regnet.weights[0].sha256 == sha256_in_name(member.url)
    assert regnet.weights[0].contract.resize_size == member.transforms().resize_size[0]


def test_a_network_without_a_row_takes_no_smaller_images_than_torchvision_says() -> None:
    with pytest.raises(ValueError, match=r"torchvision:alexnet takes images of 63×63 px at least, got 62×62"):
        get_spec("torchvision:alexnet").check_size(62, 62)


@pytest.mark.parametrize("name", ["resnet81", "fasterrcnn_resnet50_fpn"])
def test_an_unknown_torchvision_network_is_answered_with_near_names(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"unknown network of torchvision.models '{name}'; known: .*alexnet"
    ):
        get_spec(f"torchvision:{name}")
