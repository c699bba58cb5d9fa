"""The root of the channels' covariance: against scipy's, with many channels, and its gradient."""

import hashlib

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from regraft.backbones.covariance import MOST_CHANNELS, random_signs, root_of_covariance


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def unfolded(triangle: Tensor, size: int) -> Tensor:
    """The symmetric matrix of an upper triangle."""
    matrix = torch.zeros(size, size)
    rows, columns = torch.triu_indices(size, size)
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


def test_it_is_the_square_root_of_the_covariance() -> None:
    channels = draw(3, 5, 400) * torch.tensor([1.0, 1.2, 1.5, 1.0, 1.6])[:, None] + 7
    for image, root in zip(channels, root_of_covariance(channels), strict=True):
        expected = sqrtm(np.cov(image.double().numpy(), bias=True))
        np.testing.assert_allclose(unfolded(root, 5).numpy(), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("factor", [0.1, 1e3])
def test_it_scales_with_the_activation(factor: float) -> None:
    channels = draw(2, 6, 49)
    torch.testing.assert_close(
        root_of_covariance(factor * channels), factor * root_of_covariance(channels), rtol=1e-4, atol=1e-4
    )


def test_the_order_of_the_positions_says_nothing() -> None:
    channels = draw(2, 6, 49)
    torch.testing.assert_close(root_of_covariance(channels.flip(2)), root_of_covariance(channels))


def test_many_channels_are_projected() -> None:
    num_channels = MOST_CHANNELS + 8
    channels = draw(2, num_channels, 9)
    signs = random_signs(num_channels)
    assert root_of_covariance(channels).shape == (2, MOST_CHANNELS * (MOST_CHANNELS + 1) // 2)
    torch.testing.assert_close(root_of_covariance(channels), root_of_covariance(signs @ channels))
    # a projection keeps lengths, by and large
    lengths = (signs @ channels).square().sum(dim=1) / channels.square().sum(dim=1)
    assert lengths.mean().item() * num_channels / MOST_CHANNELS == pytest.approx(1, abs=0.1)


def test_signs_are_the_same_everywhere() -> None:
    signs = random_signs(320)
    assert signs.abs().unique().tolist() == [pytest.approx(320**-0.5)]
    digest = hashlib.sha256((signs > 0).numpy().tobytes()).hexdigest()
    assert digest.startswith("5e65b6e966cc1e31")


def test_an_activation_that_is_the_same_everywhere_has_a_root_of_0_and_a_gradient() -> None:
    channels = torch.full((1, 4, 9), 3.0, requires_grad=True)
    root = root_of_covariance(channels)
    assert root.abs().max().item() < 1e-6
    root.sum().backward()
    assert channels.grad is not None
    assert torch.isfinite(channels.grad).all()


def test_its_gradient_is_that_of_differences() -> None:
    channels = draw(1, 3, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: root_of_covariance(values).sum(), (channels,), atol=1e-4)
