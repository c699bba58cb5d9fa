"""Every row of the table, held against the library's own network."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torchvision
from random_networks import random_images, random_network
from torch import Tensor, nn
from torch.nn import functional

from regraft.backbones.architectures import build_on_meta
from regraft.backbones.backbone import Backbone, build_backbone, freeze, tensor_digest
from regraft.backbones.spec import BackboneSpec, TorchvisionWeights
from regraft.backbones.splitting import SPLITTERS, split_densenet, split_inception, split_resnet
from regraft.backbones.zoo import BACKBONES, get_spec

INTERPOLATIONS = {"nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"}


class _ReachedError(Exception):
    pass


def input_of_classifier(network: nn.Module, classifier: str, images: Tensor) -> Tensor:
    """What the original network's own forward pass hands to its classifier."""
    seen: list[Tensor] = []

    def stop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0])
        raise _ReachedError

    handle = network.get_submodule(classifier).register_forward_pre_hook(stop)
    with pytest.raises(_ReachedError):
        network(images)
    handle.remove()
    return seen[0]


def as_the_classifier_takes_it(backbone: Backbone, activation: Tensor, like: Tensor) -> Tensor:
    if activation.ndim == like.ndim:  # SqueezeNet's classifier takes the map
        return activation
    if backbone.spec.family == "vgg":
        return functional.adaptive_avg_pool2d(activation, 7).flatten(1)
    return backbone.pool(activation)


@pytest.mark.parametrize("name", BACKBONES)
def test_stages_equal_the_original_network(name: str) -> None:
    spec = BACKBONES[name]
    network, state = random_network(spec)
    backbone = build_backbone(name, weights=state, cut=None)
    images = random_images(spec.fixed_size or max(spec.min_size, 70))

    assert tuple(backbone.stages) == spec.stages
    assert_every_parameter_is_in_one_stage(spec, network)
    with torch.inference_mode():
        wanted = input_of_classifier(network, spec.classifier[0], images)
        features = backbone.forward_features(images)
        activation = images
        for stage in spec.stages:
            before = activation.clone()
            after = backbone.forward_range(activation, stage, stage)
            assert torch.equal(activation, before), f"{stage} changes what it is given"
            assert torch.equal(backbone.pool(after), features[stage])
            activation = after

    assert wanted.isfinite().all()
    assert wanted.std(dim=0).max() > 0.01 * wanted.abs().max(), "the comparison must depend on the image"
    got = as_the_classifier_takes_it(backbone, activation, wanted)
    # float32 keeps 1e-7; pooling the same numbers in another order costs the rest.
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()

    assert {stage: pooled.shape[1] for stage, pooled in features.items()} == backbone.feature_dims
    assert_cutting_works(backbone, state, images, features)
    assert_freezing_holds(backbone, images)
    assert_sizes_are_checked(backbone)


def _without_last_activation(model: nn.Module) -> dict[str, nn.Module]:
    stages = split_densenet(model)
    return {**stages, "features.norm5": model.get_submodule("features.norm5")}


def _without_rescaling(model: nn.Module) -> dict[str, nn.Module]:
    return {**split_inception(model), "Conv2d_1a_3x3": model.get_submodule("Conv2d_1a_3x3")}


def _with_a_tensor_twice(model: nn.Module) -> dict[str, nn.Module]:
    return {**split_resnet(model), "layer4": nn.Sequential(model.layer4, nn.Identity(), model.layer4[1])}


@pytest.mark.parametrize(
    ("name", "split", "noticed"),
    [
        ("densenet121", _without_last_activation, "1e-05"),
        ("inception_v3", _without_rescaling, "1e-05"),
        ("resnet18", _with_a_tensor_twice, "1e-05"),
    ],
)
def test_a_wrong_cut_is_noticed(
    name: str,
    split: Callable[[nn.Module], dict[str, nn.Module]],
    noticed: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SPLITTERS, get_spec(name).family, split)
    with pytest.raises(AssertionError, match=noticed):
        test_stages_equal_the_original_network(name)


def assert_every_parameter_is_in_one_stage(spec: BackboneSpec, network: nn.Module) -> None:
    owners: dict[int, list[str]] = {}
    for stage, module in spec.split(network).items():
        for tensor in [*module.parameters(), *module.buffers()]:
            owners.setdefault(id(tensor), []).append(stage)
    dropped = tuple(f"{module}." for module in spec.classifier)
    for key, tensor in [*network.named_parameters(), *network.named_buffers()]:
        num_owners = 0 if key.startswith(dropped) else 1
        assert len(owners.pop(id(tensor), [])) == num_owners, key
    assert not owners, "the stages hold tensors that the network does not have"


def assert_cutting_works(
    backbone: Backbone, state: dict[str, Tensor], images: Tensor, features: dict[str, Tensor]
) -> None:
    spec = backbone.spec
    for depth, stage in enumerate(spec.stages, start=1):
        kept = {name: backbone.stages[name] for name in spec.stages_up_to(stage)}
        cut = Backbone(spec, kept, backbone.feature_dims)
        assert len(kept) == depth
        assert (cut.cut, cut.feature_dim) == (stage, features[stage].shape[1])
    middle = spec.stages[len(spec.stages) // 2]
    cut = build_backbone(spec.name, weights=state, cut=middle)
    assert tuple(cut.feature_dims) == spec.stages_up_to(middle)
    assert not any(tensor.is_meta for tensor in [*cut.parameters(), *cut.buffers()])
    with torch.inference_mode():
        assert torch.equal(cut.pool(cut(images)), features[middle])


def assert_freezing_holds(backbone: Backbone, images: Tensor) -> None:
    backbone.train()
    freeze(backbone)
    before = tensor_digest(backbone)
    backbone(images[:1])
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(module.training for module in backbone.modules())
    assert tensor_digest(backbone) == before


def assert_sizes_are_checked(backbone: Backbone) -> None:
    spec = backbone.spec
    smallest = spec.fixed_size or spec.min_size
    with torch.inference_mode():
        backbone(torch.zeros(1, 3, smallest, smallest))
    if smallest > 1:
        with pytest.raises(ValueError, match=f"{spec.name} takes images of {smallest}×{smallest} px"):
            backbone(torch.zeros(1, 3, smallest - 1, smallest))


@pytest.mark.parametrize("name", BACKBONES)
def test_weights_on_offer_state_their_facts(name: str) -> None:
    spec = BACKBONES[name]
    assert spec.weights_names == tuple(weights.name for weights in spec.weights)
    assert len(set(spec.weights_names)) == len(spec.weights_names) > 0
    for weights in spec.weights:
        contract = weights.contract
        assert 0 < contract.size <= contract.resize_size
        assert contract.interpolation in INTERPOLATIONS
        assert all(0 < mean < 1 for mean in contract.mean)
        assert all(0 < std < 1 for std in contract.std)
        assert weights.licence
        assert weights.sha256 is None or len(weights.sha256) >= 8
        spec.check_size(contract.size, contract.size)


@pytest.mark.parametrize("name", [name for name, spec in BACKBONES.items() if spec.made_by == "torchvision"])
def test_torchvision_contracts_are_those_of_the_weights_enum(name: str) -> None:
    spec = BACKBONES[name]
    enum = torchvision.models.get_model_weights(spec.architecture)
    assert set(spec.weights_names) == {member.name for member in enum} - {"IMAGENET1K_SWAG_E2E_V1"}
    for weights in spec.weights:
        assert isinstance(weights.source, TorchvisionWeights)
        member = enum[weights.name]
        transforms = member.transforms()
        assert [weights.contract.size] == transforms.crop_size
        assert [weights.contract.resize_size] == transforms.resize_size
        assert weights.contract.interpolation == transforms.interpolation.value
        assert list(weights.contract.mean) == transforms.mean
        assert list(weights.contract.std) == transforms.std
        assert weights.sha256 is not None
        assert f"-{weights.sha256}." in member.url
        assert weights.num_classes == (0 if weights.name == "IMAGENET1K_FEATURES" else 1000)


def test_known_contracts() -> None:
    lite = [get_spec(f"efficientnet_lite{number}").weights[0].contract for number in range(3)]
    assert [(contract.size, contract.resize_size) for contract in lite] == [
        (224, 256),
        (240, 272),
        (260, 292),
    ]
    assert {contract.mean for contract in lite} == {(127 / 255,) * 3}
    assert {contract.std for contract in lite} == {(128 / 255,) * 3}
    inception = get_spec("inception_v3").weights[0].contract
    assert (inception.size, inception.resize_size, inception.mean) == (299, 342, (0.485, 0.456, 0.406))
    xception = get_spec("xception").weights[0]
    assert (xception.contract.size, xception.contract.resize_size, xception.sha256) == (299, 333, "43020ad28")
    dinov2 = get_spec("dinov2_small").weights[0]
    assert (dinov2.contract.size, dinov2.contract.resize_size, dinov2.num_classes) == (224, 256, 0)


def test_inception_rescales_its_input_as_its_pretrained_weights_need() -> None:
    # Without it torchvision's weights and contract do not belong together: nothing fails, features are worse.
    network = build_on_meta(get_spec("inception_v3"))
    assert network.transform_input is True
    assert "AuxLogits" in dict(network.named_children())


def test_unknown_backbone_is_answered_with_near_names() -> None:
    with pytest.raises(
        ValueError, match=r"unknown backbone 'resnet81'; known: .*vgg16.*Did you mean 'resnet18'"
    ):
        get_spec("resnet81")


def test_looking_names_up_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from regraft.backbones.weights import PretrainedWeights\n"
        "from regraft.backbones.zoo import BACKBONES, get_spec\n"
        "from regraft.backbones.stage_choice import check_unfreeze, parse_unfreeze\n"
        "spec = get_spec('vit_b_16')\n"
        "check_unfreeze(parse_unfreeze({'last': 2}), spec.stages, network=spec.name)\n"
        "spec.weights_names, spec.stages_up_to('encoder.ln')\n"
        "print(sorted({'torch', 'torchvision', 'timm', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
