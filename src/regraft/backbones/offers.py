"""Asks torchvision and timm what they say of their own weights: preprocessing, licence, hash, address.

Loads no weights and reaches no network; what a configuration may choose stands in the table of backbones.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from regraft.backbones.spec import (
    BackboneSpec,
    InputContract,
    PackagedWeights,
    TimmWeights,
    TorchvisionWeights,
    WeightsError,
    WeightsSource,
    WeightsSpec,
    unknown_name,
)

_TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); the terms of the training data may apply"
_SWAG_LICENCE = "CC-BY-NC-4.0 (SWAG)"


@dataclass(frozen=True)
class HubFile:
    """A file in a repository of the Hugging Face Hub."""

    repository: str
    revision: str | None
    filename: str


def find_weights(spec: BackboneSpec, name: str | None) -> WeightsSpec:
    """One of the weights on offer for a backbone.

    Args:
        name: One of `spec.weights_names`; None for the default, the first.

    Raises:
        ValueError: If the name is not on offer, or nothing is.
    """
    for source in spec.sources:
        if name in (None, source.name):
            return resolve(spec, source)
    raise unknown_name(f"weights for {spec.name}", name or "default", spec.weights_names)


def resolve(spec: BackboneSpec, source: WeightsSource) -> WeightsSpec:
    """All that is to be known of a source of weights, from the library that publishes it."""
    if isinstance(source, PackagedWeights):
        return WeightsSpec(source.name, source, source.sha256, source.licence, source.contract)
    if isinstance(source, TorchvisionWeights):
        return _resolve_torchvision(source)
    return _resolve_timm(spec, source)


def address(spec: BackboneSpec, source: TorchvisionWeights | TimmWeights) -> str | HubFile:
    """Where a file of weights is to be had: a URL, or a file of the Hugging Face Hub."""
    if isinstance(source, TorchvisionWeights):
        return str(_torchvision_member(source).url)
    config = _timm_config(spec, source)
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        return HubFile(repository, revision or None, config.hf_hub_filename or "model.safetensors")
    return str(config.url)


def _resolve_torchvision(source: TorchvisionWeights) -> WeightsSpec:
    member = _torchvision_member(source)
    transforms = member.transforms()
    contract = InputContract(
        size=int(transforms.crop_size[0]),
        resize_size=int(transforms.resize_size[0]),
        interpolation=str(transforms.interpolation.value),
        mean=_triple(transforms.mean),
        std=_triple(transforms.std),
    )
    licence = _SWAG_LICENCE if "SWAG" in source.name else _TORCHVISION_LICENCE
    num_classes = len(member.meta["categories"] or ())
    return WeightsSpec(source.name, source, sha256_in_name(member.url), licence, contract, num_classes)


def _resolve_timm(spec: BackboneSpec, source: TimmWeights) -> WeightsSpec:
    config = _timm_config(spec, source)
    size = source.size or int(config.input_size[-1])
    contract = InputContract(
        size=size,
        resize_size=source.resize_size or math.floor(size / config.crop_pct),
        interpolation=config.interpolation,
        mean=_triple(config.mean),
        std=_triple(config.std),
    )
    sha256 = None if config.hf_hub_id else sha256_in_name(config.url)
    licence = config.license or "not stated by timm"
    return WeightsSpec(source.name, source, sha256, licence, contract, int(config.num_classes))


def _torchvision_member(source: TorchvisionWeights) -> Any:
    import torchvision

    return torchvision.models.get_weight(source.enum)


def _timm_config(spec: BackboneSpec, source: TimmWeights) -> Any:
    import timm

    config = timm.get_pretrained_cfg(f"{spec.architecture}.{source.tag}")
    if config is None:
        raise WeightsError(f"this version of timm has no weights {source.tag!r} for {spec.architecture}")
    return config


def sha256_in_name(url: str) -> str | None:
    """The first digits of the sha256, which PyTorch's convention writes into the file's name."""
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    return match.group(1) if match else None


def _triple(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
