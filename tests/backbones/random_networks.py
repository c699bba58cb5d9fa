"""Networks and images of random numbers, the same in every run, at no cost of initialisation."""

import torch
from torch import Tensor, nn

from regraft.backbones.architectures import build_on_meta
from regraft.backbones.spec import BackboneSpec


def random_network(spec: BackboneSpec, *, seed: int = 0) -> tuple[nn.Module, dict[str, Tensor]]:
    """An original network with random weights, its classifier left without memory; and its state."""
    network = build_on_meta(spec)
    generator = torch.Generator().manual_seed(seed)
    dropped = tuple(f"{module}." for module in spec.classifier)
    state = {
        key: _random_tensor(key, tensor, generator)
        for key, tensor in network.state_dict().items()
        if not key.startswith(dropped)
    }
    versioned = network.state_dict()  # MNASNet loads no state without a version
    versioned.clear()
    versioned.update(state)
    network.load_state_dict(versioned, strict=False, assign=True)
    return network, state


def _random_tensor(key: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Scaled so that activations neither vanish nor explode in depth; no norm is the identity."""
    if not like.is_floating_point():
        return torch.zeros(like.shape, dtype=like.dtype)
    if like.ndim > 1:
        return torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
    if key.endswith(("running_var", "weight")):
        return torch.rand(like.shape, generator=generator) * 0.5 + 0.75
    return torch.randn(like.shape, generator=generator) * 0.1


def random_images(size: int, *, count: int = 2) -> Tensor:
    """`(count, 3, size, size)` of standard normal numbers, always the same."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))
