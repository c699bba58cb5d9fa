"""Which weights on offer lie on this machine already: in installed packages and in the caches of torch and of the hub.

Reaches no network and loads nothing; a file counts if its hash is the one expected.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from regraft.backbones.spec import BackboneSpec, PackagedWeights, WeightsError, WeightsSource
from regraft.backbones.zoo import BACKBONES


@dataclass(frozen=True)
class WeightsAtHand:
    """A backbone of the zoo with weights that are here.

    Attributes:
        backbone: Its name.
        weights: Their name; the first on offer that is here.
        path: The file.
    """

    backbone: str
    weights: str
    path: Path


def list_weights_at_hand() -> tuple[WeightsAtHand, ...]:
    """A row a backbone of the zoo that can be used without a network, in the order of the zoo."""
    found = (_first_at_hand(spec) for spec in BACKBONES.values())
    return tuple(one for one in found if one is not None)


def _first_at_hand(spec: BackboneSpec) -> WeightsAtHand | None:
    from regraft.backbones.checkpoints import hash_file
    from regraft.backbones.offers import resolve

    for source in spec.sources:
        path = _path_of(spec, source)
        if path is None:
            continue
        expected = resolve(spec, source).sha256
        if expected is None or hash_file(path).startswith(expected):
            return WeightsAtHand(spec.name, source.name, path)
    return None


def _path_of(spec: BackboneSpec, source: WeightsSource) -> Path | None:
    """The file, if it is here."""
    from regraft.backbones.downloads import find_packaged
    from regraft.backbones.offers import address

    if isinstance(source, PackagedWeights):
        try:
            return find_packaged(source)
        except WeightsError:
            return None
    place = address(spec, source)
    if isinstance(place, str):
        import torch

        path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(place).path).name
        return path if path.is_file() else None
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(place.repository, place.filename, revision=place.revision)
    return Path(cached) if isinstance(cached, str) else None
