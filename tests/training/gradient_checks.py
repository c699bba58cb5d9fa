"""Against plain autograd in float32: what the tests of two operations share."""

import torch
from torch import Tensor, nn

ACTIVATIONS = [None, nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish]
# As a fraction of the norm: float32 in another order; bfloat16 has 8 bits, and where rounding moves a value over the
# kink of an activation its gradient is another
TOLERANCES = [(torch.float32, 1e-5), (torch.bfloat16, 0.1)]


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
