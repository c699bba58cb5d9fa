"""The mean over positions: what PyTorch's own gives, and its gradient."""

import pytest
import torch

from regraft.backbones.mean_over_positions import mean_over_positions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_mean_and_gradient_are_pytorchs(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(3, 5, 4, 7, generator=generator).to(dtype).contiguous(memory_format=memory_format)
    weights = torch.randn(3, 5, generator=generator)
    one, other = given.clone().requires_grad_(True), given.clone().requires_grad_(True)
    result, expected = mean_over_positions(one), torch.nn.functional.adaptive_avg_pool2d(other.float(), 1)
    assert torch.equal(result, expected.flatten(1))
    (result * weights).sum().backward()
    (expected.flatten(1) * weights).sum().backward()
    assert torch.equal(one.grad, other.grad)
