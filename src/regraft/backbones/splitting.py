"""How each family of networks is cut into stages whose sequence equals the network up to its classifier.

Knows networks by their libraries' module names; nothing of weights, of the table of backbones, or of heads.

A stage takes what the stage before it gives, the first one images `(B, 3, H, W)`, and gives a map
`(B, C, H, W)`, tokens `(B, N, D)` with the class token first, or a vector `(B, D)`. Stages share the modules
of the original. What has no parameters (activation, pooling) belongs to the stage before it.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from torch import nn

from regraft.backbones.stage_modules import ChannelsLast, InceptionInput, PatchMap, TokenPooling, Tokens

Stages = dict[str, nn.Module]


def split_resnet(model: nn.Module) -> Stages:
    """torchvision's ResNet: the stem and four layers."""
    layers = ("layer1", "layer2", "layer3", "layer4")
    return {"stem": _sequence(model, "conv1", "bn1", "relu", "maxpool")} | _children(model, layers)


def split_vgg(model: nn.Module) -> Stages:
    """torchvision's VGG: the five blocks that each end in a max-pooling."""
    stages: Stages = {}
    block: list[tuple[str, nn.Module]] = []
    for name, layer in model.get_submodule("features").named_children():
        block.append((name, layer))
        if isinstance(layer, nn.MaxPool2d):
            stages[f"block{len(stages) + 1}"] = _join(block)
            block = []
    return stages


def split_features(model: nn.Module) -> Stages:
    """torchvision's MobileNets, EfficientNets, SqueezeNet: each member of `features` with parameters."""
    return _chain(model.get_submodule("features"), "features")


def split_densenet(model: nn.Module) -> Stages:
    """torchvision's DenseNet: stem, dense blocks, transitions, and the last norm with its activation."""
    features = model.get_submodule("features")
    blocks = [name for name, _ in features.named_children() if name.startswith(("denseblock", "transition"))]
    stages: Stages = {"stem": _sequence(features, "conv0", "norm0", "relu0", "pool0")}
    stages |= {f"features.{name}": features.get_submodule(name) for name in blocks}
    # The original applies its last activation in `forward`, with no module of its own.
    stages["features.norm5"] = _join([("norm5", features.get_submodule("norm5")), ("relu", nn.ReLU())])
    return stages


def split_convnext(model: nn.Module) -> Stages:
    """torchvision's ConvNeXt: members of `features`, then pooling and the norm inside the classifier."""
    norm = [("avgpool", model.get_submodule("avgpool")), ("norm", model.get_submodule("classifier.0"))]
    return split_features(model) | {"classifier.0": _join(norm)}


def split_inception(model: nn.Module) -> Stages:
    """torchvision's Inception v3 without its auxiliary classifier; the first stage rescales its input."""
    names = [name for name, _ in model.named_children() if name.startswith(("Conv2d", "maxpool", "Mixed"))]
    stages = _group([(name, model.get_submodule(name)) for name in names])
    first = next(iter(stages))
    if model.transform_input:
        stages[first] = _join([("rescale", InceptionInput()), ("conv", stages[first])])
    return stages


def split_vit(model: nn.Module) -> Stages:
    """torchvision's ViT: patches, encoder layers (the first adds class token and positions), the last norm.

    So the patches can be probed: right after the class token joins, it is the same for every image.
    """
    encoder = model.get_submodule("encoder")
    stages: Stages = {"conv_proj": model.get_submodule("conv_proj")}
    for name, layer in encoder.get_submodule("layers").named_children():
        stages[f"encoder.layers.{name}"] = layer
    tokens = Tokens(
        class_token=model.get_parameter("class_token"),
        positions=encoder.get_parameter("pos_embedding"),
        after=encoder.get_submodule("dropout"),
    )
    first = "encoder.layers.encoder_layer_0"
    stages[first] = _join([("tokens", tokens), ("layer", stages[first])])
    return stages | {"encoder.ln": encoder.get_submodule("ln")}


def split_swin(model: nn.Module) -> Stages:
    """torchvision's Swin: members of `features` and the last norm, all giving maps `(B, C, H, W)`."""
    members = split_features(model) | {"norm": model.get_submodule("norm")}
    return _channels_first(members)


def split_timm_efficientnet(model: nn.Module) -> Stages:
    """timm's EfficientNet: the stem, the block groups, the last convolution."""
    blocks = {f"blocks.{name}": block for name, block in model.get_submodule("blocks").named_children()}
    return (
        {"stem": _sequence(model, "conv_stem", "bn1")}
        | blocks
        | {"conv_head": _sequence(model, "conv_head", "bn2")}
    )


def split_xception(model: nn.Module) -> Stages:
    """timm's original Xception: the stem, twelve blocks, two separable convolutions."""
    blocks = tuple(f"block{index}" for index in range(1, 13))
    return {
        "stem": _sequence(model, "conv1", "bn1", "act1", "conv2", "bn2", "act2"),
        **_children(model, blocks),
        "conv3": _sequence(model, "conv3", "bn3", "act3"),
        "conv4": _sequence(model, "conv4", "bn4", "act4"),
    }


def split_timm_vit(model: nn.Module) -> Stages:
    """timm's VisionTransformer: patches, blocks, last norm, then pooling unless it is just the class token.

    Raises:
        ValueError: If it pools in a way other than class token, mean over patches, or attention.
    """
    network: Any = model
    grid = tuple(network.patch_embed.grid_size)
    stages: Stages = {"patch_embed": PatchMap(network.patch_embed, grid)}
    stages |= {f"blocks.{name}": block for name, block in network.blocks.named_children()}
    tokens = Tokens(
        class_token=network.cls_token,
        registers=network.reg_token,
        positions=network.pos_embed,
        patches_only=network.no_embed_class,
        grid=grid if network.dynamic_img_size else None,
        after=_join([("pos_drop", network.pos_drop), ("norm_pre", network.norm_pre)]),
    )
    stages["blocks.0"] = _join([("tokens", tokens), ("block", stages["blocks.0"])])
    stages["norm"] = network.norm
    if network.global_pool == "token" and isinstance(network.fc_norm, nn.Identity):
        return stages
    if network.global_pool not in ("token", "avg", "map"):
        raise ValueError(f"its pooling {network.global_pool!r} is not token, avg or map")
    num_skipped = 0 if network.pool_include_prefix else network.num_prefix_tokens
    stages["fc_norm"] = TokenPooling(network.global_pool, num_skipped, network.attn_pool, network.fc_norm)
    return stages


def split_timm_chain(model: nn.Module) -> Stages:
    """Any timm network whose children run in the order they stand in; that they do, the caller has to check.

    Members of lists of blocks are stages of their own. Everything from the pooling or classifier on is left out.
    """
    network: Any = model
    classifiers = network.pretrained_cfg.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
    heads = {"global_pool", "head", "head_drop", *(name.partition(".")[0] for name in classifiers)}
    stages = _chain_until(network, heads)
    return _channels_first(stages) if str(getattr(network, "output_fmt", "")) == "NHWC" else stages


def split_torchvision_chain(model: nn.Module) -> Stages:
    """The same for any classification network of torchvision."""
    network: Any = model
    stages = _chain_until(network, {"aux1", "avgpool", "dropout", "fc", "classifier", "head", "heads"})
    if stages and getattr(network, "transform_input", False):
        first = next(iter(stages))
        stages[first] = _join([("rescale", InceptionInput()), ("first", stages[first])])
    return stages


SPLITTERS: dict[str, Callable[[nn.Module], Stages]] = {
    "resnet": split_resnet,
    "vgg": split_vgg,
    "features": split_features,
    "densenet": split_densenet,
    "convnext": split_convnext,
    "inception": split_inception,
    "vit": split_vit,
    "swin": split_swin,
    "timm_efficientnet": split_timm_efficientnet,
    "xception": split_xception,
    "timm_vit": split_timm_vit,
    "timm_chain": split_timm_chain,
    "torchvision_chain": split_torchvision_chain,
}


def _channels_first(stages: Stages) -> Stages:
    """Stages that compute on `(B, H, W, C)`, wrapped so that between them stand maps `(B, C, H, W)`."""
    first = next(iter(stages))
    return {name: ChannelsLast(stage, is_first=name == first) for name, stage in stages.items()}


def _sequence(model: nn.Module, *names: str) -> nn.Sequential:
    return _join([(name, model.get_submodule(name)) for name in names])


def _join(members: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(members))


def _children(model: nn.Module, names: Iterable[str]) -> Stages:
    return {name: model.get_submodule(name) for name in names}


def _chain(container: nn.Module, prefix: str) -> Stages:
    return _group([(f"{prefix}.{name}", member) for name, member in container.named_children()])


def _chain_until(model: nn.Module, heads: Collection[str]) -> Stages:
    """Children in the order they stand in, up to the first of the heads; lists of blocks by their members."""
    members: list[tuple[str, nn.Module]] = []
    for name, child in itertools.takewhile(lambda item: item[0] not in heads, model.named_children()):
        is_list = isinstance(child, (nn.Sequential, nn.ModuleList))
        if is_list and name in ("blocks", "stages", "layers", "features", "trunk_output"):
            members += [(f"{name}.{inner}", member) for inner, member in child.named_children()]
        else:
            members.append((name, child))
    stages = _group(members, has_own_stage=_has_matrix)
    for stage in stages.values():
        stage.apply(_compute_out_of_place)
    return stages


def _compute_out_of_place(module: Any) -> None:
    """A stage that begins with an activation in place would change what it is given."""
    if hasattr(module, "inplace"):
        module.inplace = False


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _has_matrix(module: nn.Module) -> bool:
    """Whether it holds more than norms and scales."""
    return any(parameter.ndim > 1 for parameter in module.parameters())


def _group(
    members: Iterable[tuple[str, nn.Module]], *, has_own_stage: Callable[[nn.Module], bool] = _has_parameters
) -> Stages:
    """One stage a member that earns its own, named after it; the others join the stage before them."""
    groups: dict[str, list[tuple[str, nn.Module]]] = {}
    for name, member in members:
        if not groups or has_own_stage(member):
            groups[name] = []
        groups[next(reversed(groups))].append((name.rpartition(".")[2], member))
    return {name: group[0][1] if len(group) == 1 else _join(group) for name, group in groups.items()}
