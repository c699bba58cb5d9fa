"""Mixed precision while training: the gradients of the plain network, near in bfloat16 and the same in float32."""

import pytest
import torch
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.training.folding import FoldedConvolution, HeldWeights, added
from regraft.training.mixed import mix_precision

# One of timm's, one whose ReLU serves several places, one whose squeeze-and-excitation ends in what is not folded.
TAILS = {
    "efficientnet_lite0": "blocks.5",
    "resnet18": "layer4",
    "mobilenet_v3_small": "features.11",
    "vgg16": None,
}


def tail_of(name: str) -> tuple[Backbone, str, Tensor]:
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    stages = list(backbone.stages)
    first = TAILS[name] or stages[-1]
    for stage in stages[stages.index(first) :]:
        backbone.stages[stage].requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        border = backbone.forward_range(
            torch.randn(3, 3, 96, 96, generator=generator), None, stages[stages.index(first) - 1]
        )
    return backbone, first, border


def gradients(network: Backbone, of: Backbone, first: str, border: Tensor) -> tuple[Tensor, list[Tensor]]:
    parameters = [parameter for parameter in of.parameters() if parameter.requires_grad]
    result = of.pool(network.forward_range(border, first, None).float())
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
    return result.detach(), list(torch.autograd.grad((result * weights).sum(), parameters))


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.25)])
def test_gradients_are_those_of_the_plain_network(name: str, dtype: torch.dtype, tolerance: float) -> None:
    backbone, first, border = tail_of(name)
    mixed = mix_precision(backbone, first, border[:1], dtype=dtype)
    assert [module for module in mixed.modules() if isinstance(module, FoldedConvolution)]
    assert not [module for module in backbone.modules() if isinstance(module, FoldedConvolution)]
    expected, plain = gradients(backbone, backbone, first, border)
    result, folded = gradients(mixed, backbone, first, border)
    # As fractions of their norms: float32 sums in another order; bfloat16 has 8 bits, and goes
    # through up to 13 layers forth and back
    assert (result - expected).norm() <= tolerance * expected.norm()
    whole, other = (torch.cat([part.flatten() for part in parts]) for parts in (plain, folded))
    assert (whole - other).norm() <= tolerance * whole.norm()


def gradients_of_passes(
    network: Backbone, of: Backbone, first: str, passes: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Summed over passes: through weights held while they run, and through the folding in each."""
    parameters = [parameter for parameter in of.parameters() if parameter.requires_grad]
    weights = HeldWeights(network, parameters)

    def loss_of(border: Tensor) -> Tensor:
        result = of.pool(network.forward_range(border, first, None).float())
        return (result * torch.linspace(-1, 1, result.numel()).reshape(result.shape)).sum()

    sums: list[Tensor] = []
    with weights.held():
        for border in passes:
            sums = added(sums, weights.gradients(loss_of(border)))
    held = weights.through(sums)
    parts = [torch.autograd.grad(loss_of(border), parameters) for border in passes]
    return held, [torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("num_passes", [1, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_weights_held_while_passes_run_have_the_gradients_of_their_sum(
    name: str, num_passes: int, dtype: torch.dtype, tolerance: float
) -> None:
    backbone, first, border = tail_of(name)
    mixed = mix_precision(backbone, first, border[:1], dtype=dtype)
    held, summed = gradients_of_passes(mixed, backbone, first, list(border[:, None])[:num_passes])
    assert {gradient.dtype for gradient in held} == {torch.float32}
    for one, other in zip(held, summed, strict=True):
        # 1e-5: sums in another order; 1e-2: bfloat16 rounds each pass' before and after the folding
        assert (one - other).norm() <= tolerance * other.norm() + 1e-6


@pytest.mark.parametrize("frozen", ["weight", "norm", "statistics alone"])
def test_what_is_frozen_of_a_folded_convolution_is_asked_no_gradient(frozen: str) -> None:
    backbone, first, border = tail_of("resnet18")
    stage = backbone.stages[first]
    for module in stage.modules():
        if isinstance(module, nn.Conv2d if frozen == "weight" else nn.BatchNorm2d):
            module.requires_grad_(frozen == "statistics alone")
    mixed = mix_precision(backbone, first, border[:1], dtype=torch.float32)
    held, summed = gradients_of_passes(mixed, backbone, first, [border])
    for one, other in zip(held, summed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last, None])
def test_gradients_lie_in_memory_as_their_parameters_do(order: torch.memory_format | None) -> None:
    backbone, first, border = tail_of("efficientnet_lite0")
    for parameter in backbone.stages[first].parameters():
        if parameter.ndim == 4 and order is None:
            parameter.data = parameter.data.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
        elif parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=order)
    mixed = mix_precision(backbone, first, border[:1], dtype=torch.bfloat16)
    held, summed = gradients_of_passes(mixed, backbone, first, [border])
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    for parameter, one, other in zip(parameters, held, summed, strict=True):
        assert (one - other).norm() <= 1e-2 * other.norm() + 1e-6
        axes = [axis for axis, size in enumerate(parameter.shape) if size > 1]  # others have any stride
        assert [one.stride(axis) for axis in axes] == [parameter.stride(axis) for axis in axes]


def test_a_weight_that_two_modules_share_gets_the_gradients_of_both() -> None:
    backbone, first, border = tail_of("resnet18")
    blocks = list(backbone.stages[first].modules())
    same = [module for module in blocks if isinstance(module, nn.Conv2d) and module.in_channels == 512]
    same[1].weight = same[0].weight
    mixed = mix_precision(backbone, first, border[:1], dtype=torch.float32)
    held, summed = gradients_of_passes(mixed, backbone, first, [border])
    for one, other in zip(held, summed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_parameters_are_shared_not_copied() -> None:
    backbone, first, border = tail_of("resnet18")
    mixed = mix_precision(backbone, first, border[:1], dtype=torch.float32)
    own = {id(parameter) for parameter in backbone.parameters()}
    assert {id(parameter) for parameter in mixed.parameters()} == own
    before = mixed.forward_range(border, first, None)
    with torch.no_grad():
        for parameter in backbone.stages[first].parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(
        mixed.forward_range(border, first, None),
        backbone.forward_range(border, first, None),
        rtol=1e-4,
        atol=1e-4,
    )
    assert not torch.allclose(mixed.forward_range(border, first, None), before)


def test_a_head_alone_needs_nothing() -> None:
    backbone, _, border = tail_of("resnet18")
    assert mix_precision(backbone, None, border, dtype=torch.bfloat16) is backbone
