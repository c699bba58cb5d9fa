"""Backbones, heads and classifiers as files: tensors in safetensors, everything else as JSON in its header.

No pickle, so loading a file never runs code. Knows nothing of catalogs or registries.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter
from safetensors import safe_open
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone, build_backbone, freeze
from regraft.backbones.weights import WeightsReceipt
from regraft.classifier.classifier import Classifier
from regraft.classifier.views import ViewSet, ViewsSeen
from regraft.heads.layers import AnyLayers, HeadLayers
from regraft.heads.several import AnyTarget, Target
from regraft.images.preprocessing import Preprocessing

# One key only: with two, safetensors writes them in random order and equal models get unequal bytes.
_METADATA_KEY = "regraft"
_FORMAT = 1
_ANY_LAYERS: Any = HeadLayers  # mypy knows no type of a union that pydantic takes
_ANY_TARGET: Any = Target
_LAYERS: TypeAdapter[AnyLayers] = TypeAdapter(_ANY_LAYERS)
_TARGET: TypeAdapter[AnyTarget] = TypeAdapter(_ANY_TARGET)


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write a backbone: its weights, name, cut and the receipt of where the weights came from."""
    path.write_bytes(_pack("backbone", _prefixed("backbone", backbone), _describe_backbone(backbone)))


def load_backbone(path: Path) -> Backbone:
    """Read what `save_backbone` wrote.

    Raises:
        ValueError: If the file is not a backbone of regraft, or of a newer format.
    """
    tensors, description = _unpack(path, "backbone")
    return _restore_backbone(tensors, description)


@dataclass(frozen=True)
class Head:
    """A fitted head.

    Attributes:
        modules: From pooled features `(B, feature_dim)` to logits.
        layers: What they are made of.
        feature_dim: The width they take.
        target: What they predict.
        stages: Whose pooled features they take, in depth order; None for the backbone's cut alone.
        views_seen: What they were fitted on, and are given.
    """

    modules: nn.Sequential
    layers: AnyLayers
    feature_dim: int
    target: AnyTarget
    stages: tuple[str, ...] | None = None
    views_seen: ViewsSeen = "each"


def save_head(head: Head, path: Path) -> None:
    """Write a fitted head and what it predicts."""
    description = _describe_head(head)
    path.write_bytes(_pack("head", _prefixed("head", head.modules), description))


def load_head(path: Path) -> Head:
    """Read what `save_head` wrote.

    Raises:
        ValueError: If the file is not a head of regraft, or of a newer format.
    """
    tensors, description = _unpack(path, "head")
    return _restore_head(tensors, description)


def classifier_bytes(classifier: Classifier) -> bytes:
    """The one file that holds all that inference needs; equal classifiers give equal bytes."""
    feature_dim = sum(classifier.backbone.feature_dims[stage] for stage in classifier.stages)
    head = Head(
        classifier.head,
        classifier.layers,
        feature_dim,
        classifier.target,
        classifier.stages,
        classifier.views_seen,
    )
    description = {
        **_describe_backbone(classifier.backbone),
        **_describe_head(head),
        "preprocessing": classifier.preprocessing.model_dump(mode="json"),
        "views": classifier.views,
    }
    tensors = _prefixed("backbone", classifier.backbone) | _prefixed("head", classifier.head)
    return _pack("classifier", tensors, description)


def save_classifier(classifier: Classifier, path: Path) -> None:
    """Write `classifier_bytes` to a file."""
    path.write_bytes(classifier_bytes(classifier))


def load_classifier(path: Path) -> Classifier:
    """Read a classifier, on the CPU and in evaluation mode.

    Raises:
        ValueError: If the file is not a classifier of regraft, or of a newer format.
    """
    tensors, description = _unpack(path, "classifier")
    return assemble(
        _restore_backbone(tensors, description),
        _restore_head(tensors, description),
        Preprocessing.model_validate(description["preprocessing"]),
        views=description["views"],
    )


def assemble(backbone: Backbone, head: Head, preprocessing: Preprocessing, *, views: ViewSet) -> Classifier:
    """A classifier of a backbone and a head fitted on its pooled features; stages behind the head's are left out.

    Raises:
        ValueError: If the head was fitted on features of other stages or another width.
    """
    stages = head.stages or (backbone.cut,)
    if missing := [stage for stage in stages if stage not in backbone.stages]:
        raise ValueError(
            f"the head was fitted on features of {', '.join(stages)}; {backbone.spec.name} cut at {backbone.cut} "
            f"has no {', '.join(missing)}: run train_head again"
        )
    backbone = backbone.up_to(stages[-1])
    given = sum(backbone.feature_dims[stage] for stage in stages)
    if given != head.feature_dim:
        raise ValueError(
            f"the head was fitted on {head.feature_dim} features; {backbone.spec.name} cut at {backbone.cut} gives "
            f"{given}: run train_head again"
        )
    return Classifier(
        backbone=backbone,
        head=head.modules,
        stages=stages,
        layers=head.layers,
        target=head.target,
        preprocessing=preprocessing,
        views=views,
        views_seen=head.views_seen,
    )


def _describe_backbone(backbone: Backbone) -> dict[str, Any]:
    receipt = None if backbone.receipt is None else asdict(backbone.receipt)
    return {
        "backbone": {
            "name": backbone.spec.name,
            "cut": backbone.cut,
            "pooling": backbone.pooling,
            "weights": receipt,
        }
    }


def _describe_head(head: Head) -> dict[str, Any]:
    return {
        "head": {
            "layers": head.layers.model_dump(mode="json"),
            "feature_dim": head.feature_dim,
            "stages": head.stages,
            "views_seen": head.views_seen,
        },
        "target": head.target.model_dump(mode="json"),
    }


def _restore_backbone(tensors: dict[str, Tensor], description: dict[str, Any]) -> Backbone:
    facts = description["backbone"]
    receipt = None if facts["weights"] is None else WeightsReceipt(**facts["weights"])
    backbone = build_backbone(
        facts["name"],
        weights=None,
        cut=facts["cut"],
        receipt=receipt,
        pooling=facts.get("pooling", "mean"),  # files from before there was a choice have none
    )
    backbone.load_state_dict(_without_prefix("backbone", tensors))
    freeze(backbone)
    return backbone


def _restore_head(tensors: dict[str, Tensor], description: dict[str, Any]) -> Head:
    layers = _LAYERS.validate_python(description["head"]["layers"])
    target = _TARGET.validate_python(description["target"])
    feature_dim = description["head"]["feature_dim"]
    # Files from before heads on several stages, or on the mean of views, say nothing of it.
    stages = description["head"].get("stages")
    views_seen: ViewsSeen = description["head"].get("views_seen", "each")
    with torch.device("meta"):  # else initial weights nobody wants are drawn from the global generator
        modules = layers.build(feature_dim, target.num_outputs)
    modules.load_state_dict(_without_prefix("head", tensors), assign=True)
    stages = None if stages is None else tuple(stages)
    return Head(modules.eval(), layers, feature_dim, target, stages, views_seen)


def _prefixed(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    return {
        f"{prefix}.{name}": tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()
    }


def _without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")
    }


def _pack(kind: str, tensors: dict[str, Tensor], description: dict[str, Any]) -> bytes:
    header = json.dumps({"kind": kind, "format": _FORMAT, **description}, sort_keys=True)
    return safetensors.torch.save(tensors, metadata={_METADATA_KEY: header})


def _unpack(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_METADATA_KEY)
            tensors = {name: torch.clone(file.get_tensor(name)) for name in sorted(file.keys())}
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    description = json.loads(header) if header else {}
    if description.get("kind") != kind:
        raise ValueError(f"{path} holds {description.get('kind', 'no regraft model')!r}, not a {kind}")
    if description["format"] > _FORMAT:
        raise ValueError(
            f"{path} has format {description['format']}; this version reads up to {_FORMAT}: upgrade regraft"
        )
    return tensors, description
