"""Holds stages made on the spot against the network they were cut from, before anything relies on them.

Knows no library and no network by name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

# Differences of 1e-7 come from another memory layout; a stage out of order gives differences of order 1.
_TOLERANCE = 1e-4

# What a network that does not run one after another makes of being run so.
CUTTING_FAULTS = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError)


def run_in_turn(stages: Mapping[str, nn.Module], images: Tensor) -> dict[str, Tensor]:
    """What each stage gives, by name.

    Raises:
        ValueError: If a stage changes what it is given.
    """
    given, activation = {}, images
    for name, stage in stages.items():
        before = activation.clone()
        after = stage(activation)
        if not torch.equal(activation, before):
            raise ValueError(f"stage {name} changes what it is given")
        given[name] = activation = after
    return given


def require_equal(activation: Tensor, wanted: object) -> None:
    """Refuse stages that give something else than their network.

    Raises:
        ValueError: If shapes or numbers differ, or the network gives more than one tensor.
    """
    if not isinstance(wanted, Tensor):
        raise ValueError("its features are not one tensor")
    if activation.shape != wanted.shape:
        raise ValueError(f"its stages give {tuple(activation.shape)}, the network {tuple(wanted.shape)}")
    if not (activation - wanted).abs().max() <= _TOLERANCE * wanted.abs().max():  # not: NaN is no match
        raise ValueError("its stages do not give what the network gives")


def roots_outside(model: nn.Module, stages: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Modules, or parameters at the top, that no stage holds, in the network's order; the classifier is among them.

    Raises:
        ValueError: If a stage holds a part of one of them.
    """
    inside = {id(tensor) for stage in stages.values() for tensor in [*stage.parameters(), *stage.buffers()]}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    roots = {name.partition(".")[0]: None for name, tensor in tensors if id(tensor) not in inside}
    shared = [
        root
        for root in roots
        for name, tensor in tensors
        if name.partition(".")[0] == root and id(tensor) in inside
    ]
    if shared:
        raise ValueError(f"parts of {shared[0]} are in no stage")
    return tuple(roots)


def uncuttable(name: str, error: Exception) -> ValueError:
    """The error for a network whose parts do not run one after another."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"{name} cannot be cut into stages that run one after another: {reason}. Choose another network"
    )
