"""Nodes of the step `build_backbone`: a pretrained network without its classifier, and what it sees in the images.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions


def load_backbone(options: BuildBackboneOptions) -> tuple[Any, dict[str, Any]]:
    """Architecture, checked weights, cut, everything frozen; and what others must know of it without loading it."""
    from dataclasses import asdict

    from regraft.backbones.backbone import build_backbone, feature_dims_of, freeze
    from regraft.backbones.weights import load_weights

    weights, receipt = load_weights(options.spec, options.weights)
    backbone = build_backbone(
        options.name, weights=weights, cut=options.fixed_cut, receipt=receipt, pooling=options.pooling
    )
    freeze(backbone)
    num_channels = feature_dims_of(backbone.spec, "mean")
    return backbone, {
        "name": backbone.spec.name,
        "cut": backbone.cut,
        "pooling": backbone.pooling,
        "feature_dims": backbone.feature_dims,
        "num_channels": {stage: num_channels[stage] for stage in backbone.stages},
        "weights": asdict(receipt),
    }


def extract_features(
    backbone: Any,
    pixels: Any,
    preprocessing: dict[str, Any],
    batch_size: Any,
    compute: ComputeOptions,
) -> Any:
    """Pooled features of every stage, computed while they are saved; only a cut that drops some makes them anew."""
    from regraft.images.preprocessing import Preprocessing
    from regraft.training.features import extract_features

    fitted, resolved = Preprocessing.model_validate(preprocessing), compute.resolve()
    return extract_features(
        backbone,
        pixels,
        fitted,
        batch_size=resolved.images_a_pass(batch_size, size=fitted.size),
        compute=resolved,
    )


def extract_view_features(
    backbone: Any,
    pixels: Any,
    preprocessing: dict[str, Any],
    views: Any,
    batch_size: Any,
    compute: ComputeOptions,
) -> Any:
    """The same of every further view of the images; of none where only the images themselves are learnt from."""
    from regraft.classifier.views import num_views
    from regraft.images.preprocessing import Preprocessing
    from regraft.training.features import extract_features

    fitted, resolved = Preprocessing.model_validate(preprocessing), compute.resolve()
    return extract_features(
        backbone,
        pixels,
        fitted,
        batch_size=resolved.images_a_pass(batch_size, size=fitted.size),
        compute=resolved,
        views=range(1, num_views(views)),
    )
