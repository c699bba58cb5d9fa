"""Builds the original networks, classifier included, without weights from anywhere.

Knows nothing of pretrained weights or stages; never touches the global random state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from regraft.backbones.spec import BackboneSpec


def build_on_meta(spec: BackboneSpec) -> nn.Module:
    """The original network without memory behind its tensors: 20 to 300 ms; initialising takes up to 3 s."""
    try:
        with torch.device("meta"):
            return _build(spec).eval()
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        return build_initialised(spec, seed=0).to("meta")


def build_initialised(spec: BackboneSpec, *, seed: int) -> nn.Module:
    """The original network on the CPU in float32 with its library's own initialisation.

    Args:
        seed: Gives the same tensors in every process; the global random state is as before afterwards.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # Not torch.manual_seed: that would seed the accelerators too, which are not forked here.
        torch.default_generator.manual_seed(seed)
        return _build(spec).eval()


def _build(spec: BackboneSpec) -> nn.Module:
    arguments: dict[str, Any] = dict(spec.arguments)
    if spec.made_by == "torchvision":
        import torchvision

        model: nn.Module = torchvision.models.get_model(spec.architecture, weights=None, **arguments)
    else:
        import timm

        model = timm.create_model(spec.architecture, pretrained=False, **arguments)
    return model
