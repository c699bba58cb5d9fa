"""Rounding's shift of a channel's mean, taken back."""

import copy

import torch
from torch import Tensor, nn

from regraft.backbones.calibration import calibrate
from regraft.backbones.fused import put_steps
from regraft.backbones.fused_convolution import FusedConvolution


def images() -> Tensor:
    """Images that look alike: a pattern of their own each, faint beside what they share."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.rand(1, 4, 9, 11, generator=generator) + 1
    return shared + 0.05 * torch.randn(6, 4, 9, 11, generator=generator)


def fused_chain() -> nn.Sequential:
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Conv2d(4, 16, 3), nn.ReLU6(), nn.Conv2d(16, 8, 3), nn.ReLU()).eval()
    put_steps(chain, lambda: chain(images()), FusedConvolution, activations="all")
    return chain


def test_every_convolution_gives_the_means_of_float32() -> None:
    exact = fused_chain()
    rounded = copy.deepcopy(exact).to(torch.bfloat16)
    before = means_before_activations(rounded, images().bfloat16())
    expected = means_before_activations(exact, images())
    calibrate(rounded, exact, images(), dtype=torch.bfloat16)
    after = means_before_activations(rounded, images().bfloat16())
    for was, now, wanted in zip(before, after, expected, strict=True):
        # What is given is still rounded: to 1/512 of it at most, and in the mean over 400 positions hardly at all.
        assert (now - wanted).abs().max() < 1e-3
        assert (was - wanted).abs().mean() > 3 * (now - wanted).abs().mean()


def test_the_exact_network_is_left_as_it_was() -> None:
    exact = fused_chain()
    before = copy.deepcopy(exact.state_dict())
    calibrate(copy.deepcopy(exact).to(torch.bfloat16), exact, images(), dtype=torch.bfloat16)
    for name, tensor in exact.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not any(module._forward_pre_hooks for module in exact.modules())


class Twice(nn.Module):
    """One convolution in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, taken: Tensor) -> Tensor:
        result: Tensor = self.again(self.again(self.first(taken)))
        return result


def test_a_convolution_in_two_places_keeps_its_bias() -> None:
    torch.manual_seed(0)
    exact = Twice().eval()
    exact.first, exact.again = (
        FusedConvolution(exact.first, None, None),
        FusedConvolution(exact.again, None, None),
    )
    rounded = copy.deepcopy(exact).to(torch.bfloat16)
    calibrate(rounded, exact, images(), dtype=torch.bfloat16)
    assert torch.equal(rounded.again.bias, exact.again.bias)
    assert not torch.equal(rounded.first.bias, exact.first.bias)


def test_a_bias_stays_float32_and_goes_where_the_weight_goes() -> None:
    convolution = FusedConvolution(nn.Conv2d(4, 4, 3), None, None)
    bias = convolution.bias.clone()
    convolution.to(torch.bfloat16)
    assert convolution.weight.dtype is torch.bfloat16
    assert torch.equal(convolution.bias, bias)
    convolution.to("meta")
    assert convolution.bias.device.type == "meta"


def means_before_activations(network: nn.Module, taken: Tensor) -> list[Tensor]:
    """Of every convolution in turn, `(C,)` float32."""
    means = []
    with torch.no_grad():
        for convolution in network.modules():
            if isinstance(convolution, FusedConvolution):
                means.append(convolution.before_activation(taken).float().mean(dim=(0, 2, 3)))
                taken = convolution(taken)
    return means
