"""Frozen depthwise convolutions: what they give and their gradient, against plain autograd in float32."""

import pytest
import torch
from gradient_checks import ACTIVATIONS, TOLERANCES, close, images_of, normed, run
from torch import Tensor, nn

from regraft.training.folding import FoldedConvolution
from regraft.training.frozen_depthwise import FrozenDepthwise


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


class _Taking(nn.Module):
    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self.dtype = module, dtype

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.module(images.to(self.dtype))
        return result


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


def test_what_is_no_frozen_depthwise_convolution_is_not_taken_for_one() -> None:
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, groups=4))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 16, 3, groups=8))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, padding=3, groups=8))
    assert not FrozenDepthwise.is_possible(nn.Conv2d(8, 8, 3, groups=8, device="meta"))
    trained = nn.Conv2d(8, 8, 3, groups=8)
    assert not FoldedConvolution(trained, None, None).is_frozen_depthwise
    assert FoldedConvolution(trained.requires_grad_(False), None, None).is_frozen_depthwise
