"""Rows of the zoo made on the spot, for `torchvision:<any classification network of torchvision>`.

A network of a class that has a row in the zoo is cut as that row is; others are cut at their children and checked.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from regraft.backbones.architectures import build_initialised, build_on_meta
from regraft.backbones.chain_check import (
    CUTTING_FAULTS,
    require_equal,
    roots_outside,
    run_in_turn,
    uncuttable,
)
from regraft.backbones.memory import require_room_for_weights
from regraft.backbones.spec import BackboneSpec, TorchvisionWeights, unknown_name
from regraft.backbones.zoo import BACKBONES, TORCHVISION_PREFIX

# A row of the zoo a class of torchvision: same forward pass, other widths and depths.
_ROW_OF_CLASS = {
    "ConvNeXt": "convnext_tiny",
    "DenseNet": "densenet121",
    "EfficientNet": "efficientnet_b0",
    "Inception3": "inception_v3",
    "MobileNetV2": "mobilenet_v2",
    "MobileNetV3": "mobilenet_v3_small",
    "ResNet": "resnet18",
    "SqueezeNet": "squeezenet1_1",
    "SwinTransformer": "swin_t",
    "VGG": "vgg16",
    "VisionTransformer": "vit_b_16",
}
# As torchvision builds them for its pretrained weights, whose mean and std presuppose it.
_RESCALED = ("googlenet", "inception_v3")
_RESCALING: tuple[tuple[str, object], ...] = (("transform_input", True), ("init_weights", True))


@lru_cache(maxsize=16)
def spec_of_torchvision(architecture: str) -> BackboneSpec:
    """The row of any classification network of torchvision whose parts run one after another.

    One whose class has no row in the zoo is built once and its stages are compared with what it hands to its own
    classifier on random numbers: 0.1 to 10 s, more for the largest.

    Args:
        architecture: torchvision's name of its builder (`regnet_y_400mf`).

    Raises:
        ValueError: If there is no such network, it needs more memory than there is, or it cannot be cut into stages
            whose sequence equals it.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        raise unknown_name("network of torchvision.models", architecture, known)
    name = f"{TORCHVISION_PREFIX}{architecture}"
    members = list(torchvision.models.get_model_weights(architecture))
    draft = BackboneSpec(
        name,
        "torchvision",
        architecture,
        "torchvision_chain",
        stages=(),
        sources=(),
        classifier=(),
        arguments=_RESCALING if architecture in _RESCALED else (),
        min_size=_smallest(members),
    )
    model = build_on_meta(draft)
    require_room_for_weights(model, name)
    row = BACKBONES.get(_ROW_OF_CLASS.get(type(model).__name__, ""))
    if row is not None:
        draft = replace(
            draft,
            family=row.family,
            classifier=row.classifier,
            fixed_size=row.fixed_size,
            min_size=min(row.min_size, draft.min_size) if row.family == "swin" else draft.min_size,
            pooling=row.pooling,
        )
    elif any(draft.min_size == member.transforms().crop_size[0] for member in members):
        draft = replace(draft, fixed_size=draft.min_size)  # MaxViT: its windows are made for one size
    try:
        stages = draft.split(model)
        if row is None:
            draft = replace(draft, classifier=roots_outside(model, stages)[::-1])
            _compare_with_network(draft)
    except CUTTING_FAULTS as error:
        raise uncuttable(name, error) from error
    return replace(draft, stages=tuple(stages), sources=_sources(members, draft.fixed_size))


def _compare_with_network(draft: BackboneSpec) -> None:
    """Refuse stages whose sequence does not give what the network hands to its classifier."""
    model = build_initialised(draft, seed=0)
    stages = draft.split(model)
    size = max(64, draft.min_size)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        given = run_in_turn(stages, images)[next(reversed(stages))]
        wanted = _handed_to(model.get_submodule(draft.classifier[0]), model, images)
        if given.ndim == 4 and wanted.ndim == 2:
            pooling = getattr(model, "avgpool", nn.AdaptiveAvgPool2d(1))
            given = pooling(given).flatten(1)
    require_equal(given, wanted)


def _handed_to(classifier: nn.Module, model: nn.Module, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(images)
    handle.remove()
    return seen[0]


def _smallest(members: list[Any]) -> int:
    """The smallest image side, as torchvision states it with weights of the network's own size."""
    return min((int(member.meta["min_size"][0]) for member in members), default=1)


def _sources(members: list[Any], fixed_size: int | None) -> tuple[TorchvisionWeights, ...]:
    """All weights in torchvision's order (V1 first) but those for images of another size than the network takes."""
    return tuple(
        TorchvisionWeights(str(member))
        for member in members
        if fixed_size in (None, member.transforms().crop_size[0])
    )
