"""The receipt of fine-tuning: hashes of every stage before and after, and the proof that what was frozen did not move.

Knows weights and buffers, nothing of how they were trained.
"""

from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from regraft.backbones.checkpoints import hash_tensors
from regraft.classifier.classifier import Classifier

Digests = Mapping[str, Mapping[str, str]]
_KINDS = ("weights", "statistics")


class FrozenStageMovedError(RuntimeError):
    """What was to stay as it was did not: a fault of the program or of a module, no setting mends it."""


def stage_digests(classifier: Classifier) -> dict[str, dict[str, str]]:
    """For every stage, and the `head`: the sha256 of its `weights` and of its `statistics`, all other tensors."""
    modules = {**dict(classifier.backbone.stages.items()), "head": classifier.head}
    return {name: _digests(module) for name, module in modules.items()}


def stage_receipt(
    before: Digests, after: Digests, *, trained: Collection[str], adapted: Collection[str]
) -> list[dict[str, Any]]:
    """A row a stage, the head last: whether it was trained, whether it moved, four hashes.

    Args:
        before: As `stage_digests` gave them of the model that training started from.
        after: Of the one that is handed back.
        trained: Stages whose weights may move; `head` for the head.
        adapted: Stages whose statistics may.

    Raises:
        FrozenStageMovedError: If anything else did; it names every stage.
    """
    rows, faults = [], []
    for name, old in before.items():
        new = after[name]
        row: dict[str, Any] = {"stage": name, "is_trained": name in trained, "has_moved": old != new}
        for kind, may_move in zip(_KINDS, (name in trained, name in adapted), strict=True):
            row |= {f"{kind}_before": old[kind], f"{kind}_after": new[kind]}
            if old[kind] != new[kind] and not may_move:
                faults.append(f"{kind} of {name}")
        rows.append(row)
    if faults:
        raise FrozenStageMovedError(
            f"moved while fine-tuning, though frozen: {', '.join(faults)}; the model is not kept. Report it with the "
            "backbone's name and the fine_tune parameters"
        )
    return rows


def _digests(module: nn.Module) -> dict[str, str]:
    return {
        "weights": hash_tensors(list(module.named_parameters())),
        "statistics": hash_tensors(list(module.named_buffers())),
    }
