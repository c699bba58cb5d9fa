"""Which weights to load, the loading with its hash check, and the receipt of what was loaded.

Must not import torch at module level: the options are validated in the first second of a run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from regraft.backbones.spec import BackboneSpec, InputContract, PackagedWeights, WeightsError, WeightsSpec

if TYPE_CHECKING:
    from torch import Tensor


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PretrainedWeights(_Options):
    """Weights on offer for the backbone, by name; null for its default."""

    kind: Literal["pretrained"]
    name: str | None = None


class FileWeights(_Options):
    """A file of weights, `.safetensors` or by `torch.save`, with the 8 or more first digits of its sha256."""

    kind: Literal["file"]
    path: Path
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] | None = None


class RandomWeights(_Options):
    """The architecture's own initialisation: the baseline that nothing was transferred to."""

    kind: Literal["random"]
    seed: Annotated[int, Field(ge=0, lt=2**63)]


WeightsOptions = Annotated[PretrainedWeights | FileWeights | RandomWeights, Field(discriminator="kind")]


@dataclass(frozen=True)
class WeightsReceipt:
    """What was loaded.

    Attributes:
        source: Where it came from, for people.
        sha256: Of the file, 64 hex digits; of the tensors themselves where there was no file.
        licence: As the publisher states it.
    """

    name: str
    source: str
    sha256: str
    licence: str


def input_contract(spec: BackboneSpec, options: WeightsOptions) -> InputContract:
    """How images are to be prepared for these weights.

    A file says nothing of it, and random weights do not care: they get that of the default weights.

    Raises:
        ValueError: If there are no such weights, or no weights to take it from.
    """
    from regraft.backbones.offers import find_weights

    return find_weights(spec, options.name if isinstance(options, PretrainedWeights) else None).contract


def load_weights(spec: BackboneSpec, options: WeightsOptions) -> tuple[dict[str, Tensor], WeightsReceipt]:
    """Weights for the original network of a backbone, classifier included where they have one.

    The hash is checked at every load, of cached files too. No code in a file is ever run.

    Returns:
        The state dict on the original network's keys, on the CPU, and the receipt.

    Raises:
        WeightsError: If the file is not there, cannot be downloaded, does not match its hash, or belongs to
            another architecture.
        ValueError: If there are no such weights on offer, or too little memory for them.
    """
    if isinstance(options, RandomWeights):
        return _load_random(spec, options)
    if isinstance(options, FileWeights):
        return _load_file(spec, options)
    return _load_pretrained(spec, options)


def _load_random(spec: BackboneSpec, options: RandomWeights) -> tuple[dict[str, Tensor], WeightsReceipt]:
    from regraft.backbones.architectures import build_initialised, build_on_meta
    from regraft.backbones.checkpoints import hash_tensors
    from regraft.backbones.memory import require_room_for_weights

    require_room_for_weights(build_on_meta(spec), spec.name)
    state = dict(build_initialised(spec, seed=options.seed).state_dict())
    source = f"{spec.made_by}'s initialisation of {spec.architecture}, seed {options.seed}"
    return state, WeightsReceipt(f"random-{options.seed}", source, hash_tensors(state.items()), "none needed")


def _load_file(spec: BackboneSpec, options: FileWeights) -> tuple[dict[str, Tensor], WeightsReceipt]:
    from regraft.backbones.checkpoints import hash_file

    path = options.path
    if not path.is_file():
        raise WeightsError(f"no file of weights at {path}")
    sha256 = hash_file(path)
    if options.sha256 is not None and not sha256.startswith(options.sha256):
        raise WeightsError(f"{path} has sha256 {sha256}, not {options.sha256}: another file was meant")
    state = _read(path, spec)
    return state, WeightsReceipt(path.name, f"file {path.as_posix()}", sha256, "not stated")


def _load_pretrained(
    spec: BackboneSpec, options: PretrainedWeights
) -> tuple[dict[str, Tensor], WeightsReceipt]:
    from regraft.backbones.checkpoints import hash_file
    from regraft.backbones.offers import find_weights

    weights = find_weights(spec, options.name)
    try:
        path, source = _locate(spec, weights)
    except WeightsError as error:
        raise WeightsError(f"weights {weights.name} of {spec.name}: {error}") from error
    sha256 = hash_file(path)
    expected = weights.sha256 or _hub_hash(path)
    if expected is not None and not sha256.startswith(expected):
        raise WeightsError(
            f"{path} has sha256 {sha256}, not {expected} as weights {weights.name} of {spec.name} should: "
            "it is damaged, was changed, or the same tensors were saved anew. Delete it, or, if you trust it, use "
            f"weights: {{kind: file, path: {path}, sha256: {sha256[:8]}}}"
        )
    return _read(path, spec), WeightsReceipt(weights.name, source, sha256, weights.licence)


def _read(path: Path, spec: BackboneSpec) -> dict[str, Tensor]:
    from regraft.backbones.architectures import build_on_meta
    from regraft.backbones.checkpoints import fit_to_architecture, read_checkpoint
    from regraft.backbones.memory import require_room_for_weights

    model = build_on_meta(spec)
    require_room_for_weights(model, spec.name)
    state = read_checkpoint(path)
    return fit_to_architecture(state, model, optional=spec.classifier, origin=f"{path} for {spec.name}")


def _locate(spec: BackboneSpec, weights: WeightsSpec) -> tuple[Path, str]:
    """The file, downloaded if need be, and where it came from."""
    from regraft.backbones.downloads import fetch_checkpoint, fetch_from_hub, find_packaged
    from regraft.backbones.offers import address

    if isinstance(weights.source, PackagedWeights):
        text = f"Python package {weights.source.distribution}, {weights.source.resource}"
        return find_packaged(weights.source), text
    place = address(spec, weights.source)
    if isinstance(place, str):
        return fetch_checkpoint(place), place
    return fetch_from_hub(place), f"Hugging Face Hub, {place.repository}, {place.filename}"


def _hub_hash(path: Path) -> str | None:
    """The hub's cache names a large file by its sha256, behind a link with a readable name."""
    name = path.resolve().name
    return name if len(name) == 64 and set(name) <= set("0123456789abcdef") else None
