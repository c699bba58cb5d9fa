"""Products and frozen depthwise convolutions: what they give and their gradients, against plain autograd in float32."""

import pytest
import torch
from torch import Tensor, nn

from regraft.training import products
from regraft.training.folding import FoldedConvolution
from regraft.training.frozen_depthwise import FrozenDepthwise
from regraft.training.products import DERIVATIVES, product

ACTIVATIONS = [None, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish]
# As a fraction of the norm: float32 in another order; bfloat16 has 8 bits, and where rounding moves a value over the
# kink of an activation its gradient is another
TOLERANCES = [(torch.float32, 1e-5), (torch.bfloat16, 0.1)]


class SamePadding(nn.Conv2d):
    """As TensorFlow pads: the odd row last."""

    def forward(self, images: Tensor) -> Tensor:
        sides = []
        for size, kernel, stride in zip(
            images.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            sides += [total // 2, total - total // 2]
        return nn.functional.conv2d(
            nn.functional.pad(images, sides), self.weight, self.bias, self.stride, 0, 1, self.groups
        )


SamePadding.__name__ = "Conv2dSame"  # how timm's is known


def normed(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor, mean=1.0, std=0.3)
    nn.init.uniform_(norm.running_var, 0.5, 1.5)
    return norm


def close(given: Tensor, expected: Tensor, tolerance: float) -> bool:
    return given.shape == expected.shape and bool(
        (given.float() - expected).norm() <= tolerance * expected.norm()
    )


def run(network: nn.Module, images: Tensor, parameters: list[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What it gives, and gradients of the images and the parameters."""
    images = images.clone().requires_grad_(True)
    output = network(images)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(5))
    loss = (output.float() * weights).sum()
    return output.detach(), torch.autograd.grad(loss, [images, *parameters])


def images_of(channels: int, rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    images = torch.randn(3, channels, rows, columns, generator=torch.Generator().manual_seed(1)) * 2
    return images.to(dtype).float()  # what bfloat16 can hold: rounding of the input is not what is tested


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("has_norm", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_a_product_has_the_gradients_of_its_convolution(
    activation: type[nn.Module] | None, has_norm: bool, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(24, 40, 1, bias=not has_norm)
    norm = normed(40) if has_norm else None
    plain = nn.Sequential(convolution, norm or nn.Identity(), activation() if activation else nn.Identity())
    folded = FoldedConvolution(convolution, norm, activation() if activation else None)
    folded.compute_in(dtype)
    parameters = list(plain.parameters())
    images = images_of(24, 9, 7, dtype)
    expected, gradients = run(plain, images, parameters)
    output, given = run(folded, images, parameters)
    assert output.dtype is dtype
    assert output.is_contiguous(memory_format=torch.channels_last)
    assert close(output, expected, tolerance)
    assert [close(*pair, tolerance) for pair in zip(given, gradients, strict=True)] == [True] * len(given)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", [nn.Conv2d, SamePadding])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        (3, 1, 1, 1),
        (5, 1, 2, 1),
        (3, 2, 1, 1),
        (5, 2, 2, 1),
        (4, 2, 1, 1),
        (7, 3, 3, 1),
        (3, 1, 2, 2),
        (3, 2, 0, 1),
        ((3, 5), (2, 1), (1, 0), 1),
    ],
)
@pytest.mark.parametrize("size", [(14, 14), (13, 10)])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_a_frozen_depthwise_convolution_has_the_gradient_of_the_plain_one(
    activation: type[nn.Module] | None,
    kind: type[nn.Conv2d],
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    size: tuple[int, int],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    torch.manual_seed(0)
    if kind is SamePadding:
        padding, dilation = 0, 1
    convolution = kind(16, 16, kernel, stride, padding, dilation, groups=16, bias=False).requires_grad_(False)
    norm = normed(16).requires_grad_(False) if kernel != 7 else None
    plain = nn.Sequential(convolution, norm or nn.Identity(), activation() if activation else nn.Identity())
    assert FrozenDepthwise.is_possible(convolution)
    frozen = FrozenDepthwise(convolution, norm, activation() if activation else None).to(dtype)
    images = images_of(16, *size, dtype)
    expected, (gradient,) = run(plain, images, [])
    output, (given,) = run(_Taking(frozen, dtype), images, [])
    assert close(output, expected, tolerance)
    assert close(given, gradient, tolerance)


class _Taking(nn.Module):
    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.module(images.to(self.dtype))
        return result


def test_what_is_no_frozen_depthwise_convolution_is_not_taken_for_one() -> None:
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, groups=4))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 16, 3, groups=8))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, padding=3, groups=8))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, groups=8, device="meta"))
    trained = nn.Conv2d(8, 8, 3, groups=8)
    assert not FoldedConvolution(trained, None, None).is_frozen_depthwise
    assert FoldedConvolution(trained.requires_grad_(False), None, None).is_frozen_depthwise


def test_a_gradient_that_nobody_asks_for_is_not_computed() -> None:
    images = torch.randn(2, 8, 3, 3)
    weight = torch.randn(4, 8, 1, 1, requires_grad=True)
    product(images, weight, None, nn.ReLU).sum().backward()
    assert weight.grad is not None
    assert images.grad is None


@pytest.mark.parametrize("activation", DERIVATIVES)
def test_without_the_private_product_the_public_one_gives_the_same(
    activation: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    images, weight = torch.randn(2, 32, 5, 5).bfloat16(), torch.randn(16, 32, 1, 1).bfloat16()
    first = product(images, weight, torch.ones(16).bfloat16(), activation)
    monkeypatch.setattr(products, "has_fused_product", lambda: False)
    second = product(images, weight, torch.ones(16).bfloat16(), activation)
    assert close(second, first.float(), 1e-2)


@pytest.mark.parametrize("activation", [None, nn.SiLU, nn.Hardswish])
def test_a_network_may_add_to_what_a_product_gives_in_place(activation: type[nn.Module] | None) -> None:
    images = torch.randn(2, 8, 3, 3)
    weight = torch.randn(8, 8, 1, 1, requires_grad=True)
    output = product(images, weight, None, activation or type(None))
    output += images
    output.sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_what_the_way_back_needs_is_not_overwritten_unseen(activation: type[nn.Module]) -> None:
    images = torch.randn(2, 8, 3, 3)
    output = product(images, torch.randn(8, 8, 1, 1, requires_grad=True), None, activation)
    output += images
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()
