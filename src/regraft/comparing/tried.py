"""What is known of a model that was tried: its answers, what it cost, how large and fast it is.

Knows arrays, facts and bytes; not how a model is tried or where its result is kept.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Variant = Literal["probe", "fine_tuned"]


class ResultStore(Protocol):
    """Keeps results by key, from one comparison to the next."""

    def read(self, key: str) -> bytes | None:
        """What was written under a key by the same code; None if nothing was."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Keep it, whole."""
        ...


@dataclass(frozen=True)
class Tried:
    """One model, tried.

    Attributes:
        label: The candidate's.
        variant: The solved probe, or the network fine-tuned from it.
        probabilities: `(N, K)` float64 by evidence: `val` and `test`, images in the manifest's order, and of probes
            `held_out`: images of train and val, each by a probe that had not learnt from its group. Of several targets
            answers `(N, A)` in the layout of `SeveralTargets.answers`.
        facts: Plain values: costs in seconds, sizes, what was chosen on the way.
    """

    label: str
    variant: Variant
    probabilities: Mapping[str, Floats]
    facts: Mapping[str, Any]


def total_seconds(several: Sequence[Tried], clock: Literal["seconds", "cpu_seconds"]) -> float:
    """What models cost together, or would have from nothing; pixels that several of them take are decoded once."""
    decoding = {
        one.facts["pixels"]: float(one.facts[f"pixels_{clock}"]) for one in several if "pixels" in one.facts
    }
    own = (
        float(one.facts[clock]) - (decoding[one.facts["pixels"]] if "pixels" in one.facts else 0.0)
        for one in several
    )
    return sum(decoding.values()) + sum(own)


def pack(several: Sequence[Tried]) -> bytes:
    """Models in one file, the same bytes for the same models."""
    buffer = io.BytesIO()
    told = [{"label": one.label, "variant": one.variant, "facts": dict(one.facts)} for one in several]
    arrays: dict[str, Any] = {
        f"{index} {name}": array
        for index, one in enumerate(several)
        for name, array in one.probabilities.items()
    }
    np.savez(buffer, **arrays, told=np.array(json.dumps(told)))
    return buffer.getvalue()


def unpack(data: bytes) -> list[Tried]:
    """What `pack` made, in its order."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        told = json.loads(str(arrays["told"]))
        found: list[dict[str, Floats]] = [{} for _ in told]
        for key in arrays.files:
            index, _, name = key.partition(" ")
            if name:
                found[int(index)][name] = arrays[key]
    return [
        Tried(one["label"], one["variant"], probabilities, one["facts"])
        for one, probabilities in zip(told, found, strict=True)
    ]
