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
from torch import Tensor

from regraft.backbones.architectures import build_initialised, build_on_meta
from regraft.backbones.chain_check import (
    CUTTING_FAULTS,
    require_equal,
    roots_outside,
    run_in_turn,
    uncuttable,
)
from regraft.backbones.memory import require_room_for_weights
from regraft.backbones.spec import BackboneSpec, TimmWeights, unknown_name
from regraft.backbones.splitting import SPLITTERS, Stages


@lru_cache(maxsize=16)
def spec_of_timm(architecture: str) -> BackboneSpec:
    """The row of any network of timm whose parts run one after another.

    Builds the network once and compares its stages with its own `forward_features` on random numbers:
    0.1 to 10 s, more for the largest.

    Args:
        architecture: timm's name, without tag.

    Raises:
        ValueError: If timm has no such network, it needs more memory than there is, or it cannot be cut into stages
            whose sequence equals it.
    """
    if not timm.is_model(architecture):
        raise unknown_name("network of timm", architecture, timm.list_models())
    name = f"timm:{architecture}"
    draft = BackboneSpec(name, "timm", architecture, "timm_chain", (), (), ())
    model: Any = build_on_meta(draft)
    require_room_for_weights(model, name)
    family = "timm_vit" if type(model) is VisionTransformer else "timm_chain"
    draft = replace(draft, family=family)
    config = model.pretrained_cfg
    size = int(config["input_size"][-1])
    try:
        stages = _checked_stages(draft, size)
        outside = roots_outside(model, draft.split(model))
    except CUTTING_FAULTS as error:
        raise uncuttable(name, error) from error
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
        given = run_in_turn(stages, images)
        if "fc_norm" in stages and draft.family == "timm_vit":
            wanted = model.forward_head(wanted, pre_logits=True)
    if str(getattr(model, "output_fmt", "")) == "NHWC" and isinstance(wanted, Tensor) and wanted.ndim == 4:
        wanted = wanted.permute(0, 3, 1, 2)
    require_equal(given[next(reversed(stages))], wanted)
    return stages


def _sources(architecture: str) -> tuple[TimmWeights, ...]:
    """Tags with weights that can be downloaded, timm's default first."""
    configs = get_arch_pretrained_cfgs(architecture)
    tags = [name.partition(".")[2] for name, config in configs.items() if config.hf_hub_id or config.url]
    return tuple(TimmWeights(tag) for tag in tags if tag)
