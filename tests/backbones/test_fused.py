"""Fused networks: the same function as the original, whatever its parts and however they are joined."""

import copy
from collections.abc import Callable

import pytest
import timm.layers
import torch
from torch import Tensor, nn

from regraft.backbones import fused_convolution
from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.fused import fuse, put_steps
from regraft.backbones.fused_convolution import FusedConvolution
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec


def images() -> Tensor:
    return torch.randn(2, 4, 9, 11, generator=torch.Generator().manual_seed(1))


def with_statistics(network: nn.Module) -> nn.Module:
    """Norms that do something."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator)
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
            if module.affine:
                nn.init.normal_(module.weight, 1, 0.5, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return network.eval()


def num_fused(network: nn.Module) -> int:
    return sum(isinstance(module, FusedConvolution) for module in network.modules())


class Residual(nn.Module):
    """A block as torchvision's ResNets have it: one ReLU for all places, the sum written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def forward(self, taken: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(taken)))))
        out += taken
        return self.relu(out)


CASES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "convolution, norm, activation": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
        1,
    ),
    "bias and no norm": (lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(inplace=True)), 1),
    "norm without weights": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8, affine=False)),
        1,
    ),
    "stride, dilation, groups": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, dilation=2, padding=(1, 2), groups=2), nn.BatchNorm2d(8), nn.SiLU()
        ),
        1,
    ),
    "timm's padding and norm": (
        lambda: nn.Sequential(
            timm.layers.Conv2dSame(4, 8, 3, stride=2), timm.layers.BatchNormAct2d(8, act_layer=nn.ReLU6)
        ),
        1,
    ),
    "timm's norm without activation": (
        lambda: nn.Sequential(
            nn.Conv2d(4, 8, 1), timm.layers.BatchNormAct2d(8, apply_act=False), nn.Hardswish()
        ),
        1,
    ),
    "an activation not known": (lambda: nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.GELU()), 1),
    "an activation not known inside the norm": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 1), timm.layers.BatchNormAct2d(8, act_layer=nn.GELU)),
        0,
    ),
    "a convolution that runs twice": (
        lambda: nn.Sequential(conv := nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4)),
        0,
    ),
    "padding by reflection": (
        lambda: nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8)),
        0,
    ),
    "a sum in place": (Residual, 2),
}


@pytest.mark.parametrize("has_operation", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_fused_parts_compute_the_same(
    case: str, has_operation: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, count = CASES[case]
    if not has_operation:
        monkeypatch.setattr(fused_convolution, "has_fused_convolution", lambda: False)
    torch.manual_seed(0)
    network = with_statistics(build())
    with torch.no_grad():
        expected = network(images()).clone()
        put_steps(network, lambda: network(images()), FusedConvolution, activations="all")
        torch.testing.assert_close(network(images()), expected, rtol=1e-5, atol=1e-5)
    assert num_fused(network) == count


def test_the_operation_is_on_this_machine_or_said_not_to_be() -> None:
    try:
        torch.ops.mkldnn._convolution_pointwise  # noqa: B018
        is_there = torch.backends.mkldnn.is_available()
    except AttributeError:
        is_there = False
    assert fused_convolution.has_fused_convolution() == is_there


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18", "mobilenet_v3_small", "inception_v3"])
def test_no_norm_is_left_in_a_fused_backbone(name: str) -> None:
    spec = get_spec(name)
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(name, weights=weights, cut=None)
    freeze(backbone)
    size = spec.fixed_size or 96
    result = fuse(backbone, size=size)
    assert not [module for module in result.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)], "it was changed"
    pictures = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for stage, expected in backbone.forward_features(pictures).items():
            torch.testing.assert_close(
                result.forward_features(pictures)[stage],
                expected,
                # relative to the stage's scale: sums in another order through up to a hundred layers
                rtol=0,
                atol=1e-4 * float(expected.abs().max()),
            )


class UsesTheNormTwice(nn.Module):
    """Its norm's output goes past the activation as well, unseen by hooks."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.conv, self.bn, self.relu = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, taken: Tensor) -> Tensor:
        normed = self.bn(self.conv(self.inner(taken)[:, :8]))
        return self.relu(normed) + normed


def test_a_network_joined_otherwise_is_run_as_it_is() -> None:
    weights, _ = load_weights(get_spec("resnet18"), RandomWeights(kind="random", seed=0))
    backbone = build_backbone("resnet18", weights=weights, cut=None)
    freeze(backbone)
    last = backbone.cut
    backbone.stages.add_module(last, UsesTheNormTwice(backbone.stages[last]).eval())
    result = fuse(backbone, size=96)
    assert num_fused(result) == 0
    pictures = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(result(pictures), backbone(pictures), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [8, 9, 10])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, (2, 4)])
def test_padding_on_one_side_is_that_of_tensorflow(
    kernel_size: int | tuple[int, int], stride: int, size: int, dtype: torch.dtype
) -> None:
    convolution = timm.layers.Conv2dSame(4, 8, kernel_size, stride=stride).eval()
    pictures = torch.randn(2, 4, size, size + 1, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.no_grad():
        module = FusedConvolution(convolution, None, None).to(dtype)
        expected = convolution.to(dtype)(pictures)
        tolerance = 1e-5 if dtype == torch.float32 else 2e-2
        torch.testing.assert_close(module(pictures), expected, rtol=tolerance, atol=tolerance)


def test_one_module_serves_all_sizes_and_types_that_come() -> None:
    """What is made ready for the first batch must not be taken for another that needs something else."""
    convolution = timm.layers.Conv2dSame(4, 8, 3, stride=2).eval()
    module = FusedConvolution(convolution, None, None)
    with torch.no_grad():
        for size in (8, 9, 8, 12):
            for dtype in (torch.float32, torch.bfloat16, torch.float32):
                pictures = torch.randn(3, 4, size, size, generator=torch.Generator().manual_seed(size))
                fresh = FusedConvolution(convolution, None, None).to(dtype)
                copied = copy.deepcopy(module).to(dtype)
                assert torch.equal(copied(pictures.to(dtype)), fresh(pictures.to(dtype)))
            torch.testing.assert_close(module(pictures), convolution(pictures), rtol=1e-5, atol=1e-5)


def test_weights_laid_out_ahead_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = fuse(small_backbone(), size=96)
    pictures = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    for dtype in (torch.float32, torch.bfloat16):
        laid_out, plain = copy.deepcopy(backbone).to(dtype), copy.deepcopy(backbone).to(dtype)
        with torch.inference_mode():
            results = laid_out(pictures.to(dtype)), laid_out(pictures[:1].to(dtype))
            with monkeypatch.context() as patch:
                patch.setattr(fused_convolution, "has_packed_weights", lambda: False)
                assert torch.equal(plain(pictures.to(dtype)), results[0])
                assert torch.equal(plain(pictures[:1].to(dtype)), results[1])


def small_backbone() -> Backbone:
    spec = get_spec("efficientnet_lite0")
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(spec.name, weights=weights, cut=None)
    freeze(backbone)
    return backbone
