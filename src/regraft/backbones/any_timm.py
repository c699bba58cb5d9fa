"""Rows of the zoo made on the spot, for `timm:<any name of timm>`.

Knows no particular network: what cannot be cut in general is refused, never approximated.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.models import get_arch_pretrained_cfgs
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from regraft.backbones.architectures import build_initialised, build_on_meta
from regraft.backbones.spec import BackboneSpec, TimmWeights, unknown_name
from regraft.backbones.splitting import SPLITTERS, Stages

# Differences of 1e-7 come from another memory layout; a stage out of order gives differences of order 1.
_TOLERANCE = 1e-4


@lru_cache(maxsize=16)
def spec_of_timm(architecture: str) -> BackboneSpec:
    """The row of any network of timm whose parts run one after another.

    Builds the network once and compares its stages with its own `forward_features` on random numbers:
    0.1 to 10 s, more for the largest.

    Args:
        architecture: timm's name, without tag.

    Raises:
        ValueError: If timm has no such network, or it cannot be cut into stages whose sequence equals it.
    """
    if not timm.is_model(architecture):
        raise unknown_name("network of timm", architecture, timm.list_models())
    name = f"timm:{architecture}"
    draft = BackboneSpec(name, "timm", architecture, "timm_chain", (), (), ())
    model: Any = build_on_meta(draft)
    family = "timm_vit" if type(model) is VisionTransformer else "timm_chain"
    draft = replace(draft, family=family)
    config = model.pretrained_cfg
    size = int(config["input_size"][-1])
    try:
        stages = _checked_stages(draft, size)
        outside = _outside(model, draft.split(model))
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise ValueError(
            f"{name} cannot be cut into stages that run one after another: {_first_line(error)}. "
            "Choose another network"
        ) from error
    return replace(
        draft,
        stages=tuple(stages),
        sources=_sources(architecture),
        classifier=outside,
        min_size=int((config.get("min_input_size") or (1,))[-1]),
        fixed_size=size if config.get("fixed_input_size") else None,
        pooling="class_token" if getattr(model, "global_pool", None) == "token" else "average",
    )


def _checked_stages(draft: BackboneSpec, size: int) -> Stages:
    """The stages, once seen to give what the network itself gives before its pooling."""
    model: Any = build_initialised(draft, seed=0)
    stages = SPLITTERS[draft.family](model)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = model.forward_features(images)
        activation = images
        for name, stage in stages.items():
            if draft.family == "timm_vit" and name == "fc_norm":
                wanted = model.forward_head(wanted, pre_logits=True)
            before = activation.clone()
            after = stage(activation)
            if not torch.equal(activation, before):
                raise ValueError(f"stage {name} changes what it is given")
            activation = after
    if not isinstance(wanted, Tensor):
        raise ValueError("its features are not one tensor")
    if str(getattr(model, "output_fmt", "")) == "NHWC" and wanted.ndim == 4:
        wanted = wanted.permute(0, 3, 1, 2)
    if activation.shape != wanted.shape:
        raise ValueError(f"its stages give {tuple(activation.shape)}, the network {tuple(wanted.shape)}")
    if not (activation - wanted).abs().max() <= _TOLERANCE * wanted.abs().max():  # not: NaN is no match
        raise ValueError("its stages do not give what the network gives")
    return stages


def _outside(model: nn.Module, stages: Stages) -> tuple[str, ...]:
    """Modules, or parameters at the top, that no stage holds; the classifier is among them."""
    inside = {id(tensor) for stage in stages.values() for tensor in [*stage.parameters(), *stage.buffers()]}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    roots = {name.partition(".")[0]: None for name, tensor in tensors if id(tensor) not in inside}
    shared = [
        root
        for root in roots
        for name, tensor in tensors
        if name.partition(".")[0] == root and id(tensor) in inside
    ]
    if shared:
        raise ValueError(f"parts of {shared[0]} are in no stage")
    return tuple(roots)


def _sources(architecture: str) -> tuple[TimmWeights, ...]:
    """Tags with weights that can be downloaded, timm's default first."""
    configs = get_arch_pretrained_cfgs(architecture)
    tags = [name.partition(".")[2] for name, config in configs.items() if config.hf_hub_id or config.url]
    return tuple(TimmWeights(tag) for tag in tags if tag)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
