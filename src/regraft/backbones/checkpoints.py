"""Reads files of weights without running code, hashes them, and brings them to the architecture's own keys.

Knows neither where files come from nor which weights are on offer.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regraft.backbones.spec import WeightsError

StateDict = dict[str, Tensor]
_SHOWN = 4


def hash_file(path: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_tensors(named: Iterable[tuple[str, Tensor]]) -> str:
    """The sha256 of tensors with their names, types and shapes, in name order; equal on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(named, key=lambda item: item[0]):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_checkpoint(path: Path) -> StateDict:
    """The tensors in a file, on the CPU.

    Args:
        path: `.safetensors`, or any name with what `torch.save` wrote: a state dict, or a dict that has one
            under `state_dict` or `model`. A prefix `module.` on all keys is taken off.

    Raises:
        WeightsError: If it is not there, cannot be read, or holds anything but tensors: code is never run.
    """
    if not path.is_file():
        raise WeightsError(f"no file of weights at {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no state dict (names with tensors)")
    state = {str(name): tensor for name, tensor in content.items()}
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def fit_to_architecture(
    state: Mapping[str, Tensor], model: nn.Module, *, optional: tuple[str, ...], origin: str
) -> StateDict:
    """Weights on the keys and types of an original network.

    Args:
        state: Keys of the network, or of a known older or foreign naming of it.
        model: The original network, on any device.
        optional: Modules (the classifier) whose weights may be missing or shaped otherwise.
        origin: What the message calls the weights.

    Raises:
        WeightsError: If a key is missing, unexpected, or shaped otherwise; all kinds at once, a few of each.
    """
    wanted = model.state_dict()
    state = _with_batch_counts(_renamed(state, wanted), wanted)

    def is_needed(key: str) -> bool:
        return not key.startswith(tuple(f"{module}." for module in optional))

    missing = [key for key in wanted if key not in state and is_needed(key)]
    unexpected = [key for key in state if key not in wanted and is_needed(key)]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in state and state[key].shape != tensor.shape and is_needed(key)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "shaped otherwise": shapes}
    faults = [_listed(kind, keys) for kind, keys in kinds.items() if keys]
    if faults:
        raise WeightsError(f"{origin} does not fit the architecture: {'; '.join(faults)}")
    return {key: tensor.to(wanted[key].dtype) if key in wanted else tensor for key, tensor in state.items()}


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, or is no file of weights; reading it could run code. "
            "Save its state dict as .safetensors where you trust it"
        ) from error
    except OSError:
        raise
    except Exception as error:  # what a damaged file makes the unpickler raise is not documented
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path} cannot be read: {reason}") from error


def _listed(what: str, keys: list[str]) -> str:
    more = f", … ({len(keys)} in all)" if len(keys) > _SHOWN else ""
    return f"{what} {', '.join(keys[:_SHOWN])}{more}"


def _with_batch_counts(state: StateDict, wanted: Mapping[str, Tensor]) -> StateDict:
    """Checkpoints from before PyTorch 0.4.1 have no `num_batches_tracked`; evaluation does not read it."""
    counts = {
        key: torch.zeros_like(tensor, device="cpu")
        for key, tensor in wanted.items()
        if key.endswith(".num_batches_tracked")
    }
    return counts | state


def _renamed(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> StateDict:
    if "_conv_stem.weight" in state:
        return _from_efficientnet_lite(state, wanted)
    # torchvision's DenseNet files are older than its module names: norm.1 for norm1.
    older = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
    return {older.sub(r"\1\2", key): tensor for key, tensor in state.items()}


def _from_efficientnet_lite(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> StateDict:
    """Names of the package efficientnet-lite-pytorch to timm's.

    Its blocks are numbered through, timm's by group; those without expansion lack a convolution and a norm.
    """
    depthwise = re.compile(r"(blocks\.\d+\.\d+)\.conv_dw\.weight")
    blocks = [match.group(1) for match in map(depthwise.fullmatch, wanted) if match]
    outside = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    expanding = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}

    def rename(key: str) -> str:
        match = re.match(r"_blocks\.(\d+)\.(\w+)\.(\w+)$", key)
        if match is None:
            module, _, tensor = key.rpartition(".")
            return f"{outside.get(module, module)}.{tensor}"
        index, module, tensor = int(match.group(1)), match.group(2), match.group(3)
        names = expanding if f"_blocks.{index}._expand_conv.weight" in state else plain
        block = blocks[index] if index < len(blocks) else f"_blocks.{index}"
        return f"{block}.{names.get(module, module)}.{tensor}"

    return {rename(key): tensor for key, tensor in state.items()}
