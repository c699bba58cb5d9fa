"""Products: what they give and their gradients, against plain autograd in float32."""

import pytest
import torch
from gradient_checks import ACTIVATIONS, TOLERANCES, close, images_of, normed, run
from torch import nn

from regraft.training import products
from regraft.training.folding import FoldedConvolution
from regraft.training.products import DERIVATIVES, product


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
