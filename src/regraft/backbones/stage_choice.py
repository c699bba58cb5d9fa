"""Which stages of a network are trained: what a user may say of it, and the stages that this stands for.

Must not import torch: what is said is checked in the first second of a run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from regraft.backbones.spec import unknown_name

if TYPE_CHECKING:
    from torch import nn

_Word = Literal["none", "first", "all", "auto"]
_HINT = ", last 3 or a list of stages such as [layer3, layer4]; last 0 is the head alone"
_LAST = re.compile(r"last (\d+)")


@dataclass(frozen=True)
class LastStages:
    """The deepest stages.

    Attributes:
        last: How many, counted back from the cut; 0 for none of them, so that the head alone is trained.
    """

    last: int


Unfreeze = _Word | LastStages | tuple[str, ...]
"""`none`: nothing is trained, the head neither. `first`: the first block and what lies before it. `all`: every stage.
`auto`: what a search on `val` finds. Or the last ones, or stages by name."""


def parse_unfreeze(said: Any) -> Unfreeze:
    """What a configuration says, as a value.

    Args:
        said: A word, `last` and a number, or a list of names; an `Unfreeze` is taken as it is. A mapping with `last` is
            understood, but Kedro puts no list in a mapping's place.

    Raises:
        ValueError: If it is anything else; one line that says what it may be.
    """
    if isinstance(said, LastStages):
        return said
    if isinstance(said, str):
        if last_stages := _LAST.fullmatch(said):
            return LastStages(int(last_stages[1]))
        if said not in get_args(_Word):
            raise unknown_name("choice of stages", said, get_args(_Word), hint=_HINT)
        return cast("_Word", said)
    if isinstance(said, Mapping):
        last = said.get("last")
        if set(said) != {"last"} or not isinstance(last, int) or isinstance(last, bool) or last < 0:
            raise ValueError(f"as a mapping it is {{last: a number of 0 or more}}, got {dict(said)}")
        return LastStages(last)
    if isinstance(said, list | tuple) and said and all(isinstance(name, str) for name in said):
        if repeated := sorted({name for name in said if said.count(name) > 1}):
            raise ValueError(f"stages named twice: {', '.join(repeated)}")
        return tuple(said)
    raise ValueError(f"got {said!r}; known: {', '.join(get_args(_Word))}{_HINT}")


def said_unfreeze(unfreeze: Unfreeze) -> str | list[str]:
    """A choice as a configuration says it, for records of it."""
    return said_in_words(unfreeze) if isinstance(unfreeze, str | LastStages) else list(unfreeze)


def said_in_words(unfreeze: Unfreeze) -> str:
    """`none`, `last 3`, `layer3 + layer4`."""
    if isinstance(unfreeze, LastStages):
        return f"last {unfreeze.last}"
    return unfreeze if isinstance(unfreeze, str) else " + ".join(unfreeze)


def candidates(stages: Mapping[str, nn.Module]) -> tuple[Unfreeze, ...]:
    """What a search chooses from, the cheapest to train first: `none`, the last 1, 2, 3, 5, 8 …, the first block, all.

    The deeper, the less one stage more matters: so the numbers of last stages are Fibonacci's.
    """
    lasts, step = [1, 2], (1, 2)
    while sum(step) < len(stages):
        step = (step[1], sum(step))
        lasts.append(step[1])
    deepest: list[Unfreeze] = [LastStages(last) for last in lasts if last < len(stages)]
    choices: tuple[Unfreeze, ...] = ("none", *deepest, "first", "all")
    found: dict[tuple[str, ...], Unfreeze] = {}
    for choice in choices:
        found.setdefault(chosen_stages(choice, stages), choice)
    return tuple(found.values())


def check_head_stages(
    features: str | Sequence[str], stages: Sequence[str], *, network: str, cut: str | None
) -> list[str]:
    """What is wrong with the stages a head is to see, a sentence a fault.

    Args:
        features: `last`, `concat`, or names of stages.
        stages: The network's, up to its cut, in depth order.
        network: Its name, for the sentences.
        cut: As the configuration says it.
    """
    if isinstance(features, str):
        return []
    faults = [
        str(unknown_name(f"stage of {network}", stage, stages)) for stage in features if stage not in stages
    ]
    if repeated := sorted({stage for stage in features if list(features).count(stage) > 1}):
        faults.append(f"stages named twice: {', '.join(repeated)}")
    if cut == "auto":
        faults.append("stages are named, and build_backbone.cut: auto would choose them; set it to null")
    return faults


def choose_head_stages(features: str | Sequence[str], stages: Sequence[str]) -> tuple[str, ...]:
    """The stages whose pooled features a head sees, in depth order.

    Args:
        features: `last`, `concat`, or names of stages.
        stages: The network's, up to its cut, in depth order.
    """
    if features == "concat":
        return tuple(stages)
    wanted = {stages[-1]} if features == "last" else set(features)
    return tuple(stage for stage in stages if stage in wanted)


def check_unfreeze(unfreeze: Unfreeze, stages: Sequence[str], *, network: str) -> list[str]:
    """What is wrong with a choice for a network, a sentence a fault.

    Args:
        stages: The network's, up to its cut, in depth order.
        network: Its name, for the sentences.
    """
    if isinstance(unfreeze, LastStages) and unfreeze.last > len(stages):
        listed = ", ".join(stages)
        return [f"last {unfreeze.last} is more than the {len(stages)} stages of {network} ({listed})"]
    if isinstance(unfreeze, tuple):
        unknown = [name for name in unfreeze if name not in stages]
        return [str(unknown_name(f"stage of {network} up to its cut", name, stages)) for name in unknown]
    return []


def chosen_stages(
    unfreeze: Unfreeze, stages: Mapping[str, nn.Module], *, network: str = "this network"
) -> tuple[str, ...]:
    """The names of the stages that a choice stands for, in depth order.

    Args:
        stages: The network's, up to its cut, in depth order.

    Raises:
        ValueError: If a stage is named that is not there, more are wanted than there are, or it is `auto`, which only a
            search can answer.

    Source:
        `first` is surgical fine-tuning: Lee et al. 2022, arXiv:2210.11466.
    """
    names = tuple(stages)
    if faults := check_unfreeze(unfreeze, names, network=network):
        raise ValueError("; ".join(faults))
    if isinstance(unfreeze, LastStages):
        return names[len(names) - unfreeze.last :]
    if isinstance(unfreeze, tuple):
        return tuple(name for name in names if name in unfreeze)
    if unfreeze == "auto":
        raise ValueError("auto stands for no stages by itself: a search chooses among candidates")
    if unfreeze == "first":
        return names[: _first_block(stages) + 1]
    return names if unfreeze == "all" else ()


def _first_block(stages: Mapping[str, nn.Module]) -> int:
    """The depth of the first stage that is more than one layer: single convolutions before it are no block."""
    for depth, stage in enumerate(stages.values()):
        if sum(parameter.ndim > 1 for parameter in stage.parameters()) > 1:
            return depth
    return 0
