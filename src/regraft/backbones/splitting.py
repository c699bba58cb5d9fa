"""How each family of networks is cut into stages that, run one after another, equal the network up to its classifier.

Knows networks only by their library's module names; nothing of weights, of the table of backbones, or of heads.

A stage takes what the stage before it gives, the first one images `(B, 3, H, W)`, and gives a map `(B, C, H, W)`,
tokens `(B, N, D)` with the class token first, or a vector `(B, D)`. Stages share the original's modules and
parameters. What has no parameters (activation, pooling) belongs to the stage before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

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
    """torchvision's ConvNeXt: members of `features`, then pooling and the norm that stands inside the classifier."""
    norm = [("avgpool", model.get_submodule("avgpool")), ("norm", model.get_submodule("classifier.0"))]
    return split_features(model) | {"classifier.0": _join(norm)}


def split_inception(model: nn.Module) -> Stages:
    """torchvision's Inception v3 without its auxiliary classifier; rescaling of the input comes with the first stage."""
    names = [name for name, _ in model.named_children() if name.startswith(("Conv2d", "maxpool", "Mixed"))]
    stages = _group([(name, model.get_submodule(name)) for name in names])
    first = next(iter(stages))
    if model.transform_input:
        stages[first] = _join([("rescale", _InceptionInput()), ("conv", stages[first])])
    return stages


def split_vit(model: nn.Module) -> Stages:
    """torchvision's ViT: patches, encoder layers, the last norm; class token and positions join at the first layer.

    So the patches can be probed: right after the class token joins, it is the same for every image.
    """
    encoder = model.get_submodule("encoder")
    stages: Stages = {"conv_proj": model.get_submodule("conv_proj")}
    for name, layer in encoder.get_submodule("layers").named_children():
        stages[f"encoder.layers.{name}"] = layer
    tokens = _Tokens(class_token=model.get_parameter("class_token"),
                     positions=encoder.get_parameter("pos_embedding"), after=encoder.get_submodule("dropout"))
    first = "encoder.layers.encoder_layer_0"
    stages[first] = _join([("tokens", tokens), ("layer", stages[first])])
    return stages | {"encoder.ln": encoder.get_submodule("ln")}


def split_swin(model: nn.Module) -> Stages:
    """torchvision's Swin: members of `features` and the last norm, each wrapped to give maps `(B, C, H, W)`."""
    members = split_features(model) | {"norm": model.get_submodule("norm")}
    return channels_first(members)


def split_timm_efficientnet(model: nn.Module) -> Stages:
    """timm's EfficientNet: the stem, the block groups, the last convolution."""
    blocks = {f"blocks.{name}": block for name, block in model.get_submodule("blocks").named_children()}
    return {"stem": _sequence(model, "conv_stem", "bn1")} | blocks | {"conv_head": _sequence(model, "conv_head", "bn2")}


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
    """timm's VisionTransformer: patches, blocks, the last norm, and where it has one, the pooling with a norm.

    Raises:
        ValueError: If it pools in a way other than class token, mean over patches, or attention.
    """
    patches = model.get_submodule("patch_embed")
    stages: Stages = {"patch_embed": _PatchMap(patches)}
    for name, block in model.get_submodule("blocks").named_children():
        stages[f"blocks.{name}"] = block
    tokens = _Tokens(
        class_token=model.cls_token, positions=model.pos_embed, registers=model.reg_token,
        patches_only=bool(model.no_embed_class), grid=tuple(patches.grid_size) if model.dynamic_img_size else None,
        after=nn.Sequential(model.get_submodule("pos_drop"), model.get_submodule("norm_pre")),
    )
    stages["blocks.0"] = _join([("tokens", tokens), ("block", stages["blocks.0"])])
    stages["norm"] = model.get_submodule("norm")
    if model.global_pool == "token" and isinstance(model.fc_norm, nn.Identity):
        return stages
    if model.global_pool not in ("token", "avg", "map"):
        raise ValueError(f"its pooling {model.global_pool!r} is not token, avg or map")
    skipped = 0 if model.pool_include_prefix else int(model.num_prefix_tokens)
    stages["fc_norm"] = _TokenPooling(str(model.global_pool), skipped, model.attn_pool, model.fc_norm)
    return stages


def split_timm_chain(model: nn.Module) -> Stages:
    """Any timm network whose children run in the order they stand in; whether they do, the caller has to check.

    Members of `blocks`, `stages`, `layers` and `features` are stages of their own. Everything from the pooling or the
    classifier on is left out.
    """
    heads = {name.partition(".")[0] for name in timm_classifiers(model)} | {"global_pool", "head", "head_drop"}
    children: list[tuple[str, nn.Module]] = []
    for name, child in model.named_children():
        if name in heads:
            break
        if name in ("blocks", "stages", "layers", "features") and isinstance(child, (nn.Sequential, nn.ModuleList)):
            children += [(f"{name}.{inner}", member) for inner, member in child.named_children()]
        else:
            children.append((name, child))
    stages = _group(children, has_own_stage=_has_matrix)
    return channels_first(stages) if str(getattr(model, "output_fmt", "")) == "NHWC" else stages


def timm_classifiers(model: nn.Module) -> tuple[str, ...]:
    """The modules that timm itself calls the classifier of a network; empty if it has none."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def channels_first(stages: Stages) -> Stages:
    """Stages that compute on `(B, H, W, C)`, wrapped so that between them stand maps `(B, C, H, W)`."""
    return {name: _ChannelsLast(stage, is_first=not index) for index, (name, stage) in enumerate(stages.items())}


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
}


class _InceptionInput(nn.Module):
    """From ImageNet's mean and std to the 0.5 that Inception was trained with, as `Inception3._transform_input`."""

    def forward(self, images: Tensor) -> Tensor:
        constants = ((0.229, 0.485), (0.224, 0.456), (0.225, 0.406))
        channels = [images[:, index] * (std / 0.5) + (mean - 0.5) / 0.5 for index, (std, mean) in enumerate(constants)]
        return torch.stack(channels, dim=1)


class _Tokens(nn.Module):
    """A map of patches `(B, D, h, w)` to tokens `(B, N, D)`: class token, registers, patches, with positions added.

    Args:
        patches_only: Positions are of the patches alone, not of class token and registers.
        grid: Rows and columns of the positions, if they are to be resampled to the patches that come.
    """

    def __init__(
        self,
        *,
        class_token: nn.Parameter | None,
        positions: nn.Parameter | None,
        after: nn.Module,
        registers: nn.Parameter | None = None,
        patches_only: bool = False,
        grid: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.class_token, self.registers, self.positions = class_token, registers, positions
        self.after = after
        self.patches_only = patches_only
        self.grid = grid

    def forward(self, patches: Tensor) -> Tensor:
        tokens = patches.flatten(2).transpose(1, 2)
        prefix = [token.expand(len(tokens), -1, -1) for token in (self.class_token, self.registers) if token is not None]
        positions = self._positions(patches, sum(token.shape[1] for token in prefix))
        if self.patches_only and positions is not None:
            tokens = tokens + positions
        tokens = torch.cat([*prefix, tokens], dim=1)
        if not self.patches_only and positions is not None:
            tokens = tokens + positions
        result: Tensor = self.after(tokens)
        return result

    def _positions(self, patches: Tensor, num_prefix: int) -> Tensor | None:
        if self.positions is None or self.grid is None:
            return self.positions
        from timm.layers import resample_abs_pos_embed

        return resample_abs_pos_embed(
            self.positions, new_size=list(patches.shape[-2:]), old_size=list(self.grid),
            num_prefix_tokens=0 if self.patches_only else num_prefix,
        )


class _PatchMap(nn.Module):
    """timm's patch embedding, giving a map `(B, D, h, w)` whichever of its formats it is set to."""

    def __init__(self, patches: nn.Module) -> None:
        super().__init__()
        self.patches = patches

    def forward(self, images: Tensor) -> Tensor:
        embedded: Tensor = self.patches(images)
        if embedded.ndim == 4:
            return embedded.permute(0, 3, 1, 2)
        height, width = self.patches.grid_size
        return embedded.transpose(1, 2).unflatten(2, (height, width))


class _TokenPooling(nn.Module):
    """Tokens `(B, N, D)` to the vector `(B, D)` that timm gives to the classifier."""

    def __init__(self, how: str, num_skipped: int, attention: nn.Module | None, norm: nn.Module) -> None:
        super().__init__()
        self.how, self.num_skipped = how, num_skipped
        self.attention, self.norm = attention, norm

    def forward(self, tokens: Tensor) -> Tensor:
        if self.how == "token":
            pooled = tokens[:, 0]
        elif self.attention is not None:
            pooled = self.attention(tokens[:, self.num_skipped :])
        else:
            pooled = tokens[:, self.num_skipped :].mean(dim=1)
        result: Tensor = self.norm(pooled)
        return result


class _ChannelsLast(nn.Module):
    """A stage that computes on `(B, H, W, C)`, between maps `(B, C, H, W)`; the permutations are views."""

    def __init__(self, inner: nn.Module, *, is_first: bool) -> None:
        super().__init__()
        self.inner = inner
        self.is_first = is_first

    def forward(self, activation: Tensor) -> Tensor:
        result: Tensor = self.inner(activation if self.is_first else activation.permute(0, 2, 3, 1))
        return result.permute(0, 3, 1, 2)


def _sequence(model: nn.Module, *names: str) -> nn.Sequential:
    return _join([(name, model.get_submodule(name)) for name in names])


def _join(members: Iterable[tuple[str, nn.Module]]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(members))


def _children(model: nn.Module, names: Iterable[str]) -> Stages:
    return {name: model.get_submodule(name) for name in names}


def _chain(container: nn.Module, prefix: str) -> Stages:
    return _group([(f"{prefix}.{name}", member) for name, member in container.named_children()])


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
