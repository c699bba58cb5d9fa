"""A small untrained classifier of several targets: two kinds of classes, a number, and three points."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regraft.backbones.backbone import Backbone
    from regraft.classifier import Classifier
    from regraft.images.preprocessing import Preprocessing

TARGETS: list[dict[str, Any]] = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 3},
    {"name": "hair", "kind": "classes", "label_names": ["black", "brown", "none"]},
]


def several_classifier(backbone: "Backbone", preprocessing: "Preprocessing", seed: int = 0) -> "Classifier":
    """Answers that differ from image to image; another seed, other answers."""
    import torch

    from regraft.classifier import Head, assemble
    from regraft.heads.layers import LinearLayers
    from regraft.heads.numbers import NumbersTarget
    from regraft.heads.several import SeveralTargets
    from regraft.heads.targets import BinaryTarget, MulticlassTarget

    target = SeveralTargets(
        members=(
            BinaryTarget(column="gender", label_names=("female", "male")),
            NumbersTarget(kind="number", column="age", mean=(40.0,), scale=(15.0,), noise=(0.5,)),
            NumbersTarget(kind="points", column="face", mean=(0.5,) * 6, scale=(0.1,) * 6, noise=(0.5,) * 6),
            MulticlassTarget(column="hair", label_names=("black", "brown", "none")),
        )
    )
    layers = LinearLayers()
    modules = layers.build(backbone.feature_dim, target.num_outputs)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.03)
    head = Head(modules.eval().requires_grad_(False), layers, backbone.feature_dim, target)
    return assemble(backbone, head, preprocessing, views="identity")
