"""Two makings of one model side by side: what is the same, what differs, and whether the result does.

Knows receipts and tables as plain data: not where they come from.
"""

from dataclasses import dataclass

import pandas as pd

from regraft.registry.differences import (
    code_differences,
    file_differences,
    hash_difference,
    image_differences,
    key_differences,
    lock_differences,
    machine_differences,
    metric_differences,
    model_differences,
    parameter_differences,
    prediction_differences,
    short_hash,
)
from regraft.registry.receipt import Receipt, dotted


@dataclass(frozen=True)
class Making:
    """A model as it was made.

    Attributes:
        receipt: What it was made of.
        images: `receipt.IMAGE_COLUMNS`, a row an image.
        predictions: Of the registered model on val and test, with `sha256`, `predicted_name` and a column `p_…` a
            class.
    """

    receipt: Receipt
    images: pd.DataFrame
    predictions: pd.DataFrame


@dataclass(frozen=True)
class Aspect:
    """One thing in which two makings may differ.

    Attributes:
        name: A word or two.
        recorded: What the recorded making had, in short.
        differences: Sentences; none where both are the same.
    """

    name: str
    recorded: str
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A recorded making beside its repetition.

    Attributes:
        causes: What a result follows from.
        files: The artefacts on the way.
        results: The model, its predictions, its metrics.
        unverified: See `Receipt.unverified`, of the recorded making.
    """

    causes: tuple[Aspect, ...]
    files: Aspect
    results: tuple[Aspect, ...]
    unverified: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether model, predictions and metrics are the same to the last bit."""
        return not any(aspect.differences for aspect in self.results)

    def table(self) -> list[str]:
        """A line an aspect."""
        aspects = (*self.causes, self.files, *self.results)
        width = max(len(aspect.recorded) for aspect in aspects)
        return [
            f"{aspect.name:<12} {aspect.recorded:<{width}}  {'differs' if aspect.differences else 'the same'}"
            for aspect in aspects
        ]

    def sentences(self) -> list[str]:
        """What differed: first what may be the cause, then what came of it."""
        aspects = (*self.causes, self.files, *self.results)
        told = [f"{aspect.name}: {sentence}" for aspect in aspects for sentence in aspect.differences]
        if self.is_identical:
            return told
        if self.unverified:
            told.append(
                f"Nothing shows that the recorded code and parameters made what the recorded model was made of: "
                f"{', '.join(self.unverified)} left it on disk earlier, or elsewhere."
            )
        elif not any(aspect.differences for aspect in self.causes):
            told.append(
                "Nothing that the receipt holds differs, and yet the result does. On a GPU set "
                "compute.deterministic; on a CPU it should not happen: please report it."
            )
        return told


def compare(recorded: Making, rebuilt: Making) -> Comparison:
    """Find everything in which a repetition differs from what was recorded.

    Args:
        recorded: What the registry holds.
        rebuilt: What the repetition gave.
    """
    was, now = recorded.receipt, rebuilt.receipt
    has_same_predictions = was.result.predictions_sha256 == now.result.predictions_sha256
    causes = (
        _aspect("code", _code(was), code_differences(was, now)),
        _aspect("lock file", short_hash(was.lock_sha256), lock_differences(was, now)),
        _aspect("libraries", f"{len(was.versions)} packages", key_differences(was.versions, now.versions)),
        _aspect("parameters", _parameters(was), parameter_differences(was, now)),
        _aspect(
            "images",
            f"{was.num_images:,}, {short_hash(was.data_sha256)}",
            image_differences(recorded.images, rebuilt.images),
        ),
        _aspect(
            "weights",
            f"{was.weights.name}, {short_hash(was.weights.sha256)}",
            hash_difference(was.weights.sha256, now.weights.sha256),
        ),
        _aspect("machine", _machine(was), machine_differences(was.machine, now.machine)),
    )
    results = (
        _aspect(
            "model",
            f"{was.result.model.replace('_', '-')}, {short_hash(was.result.classifier_sha256)}",
            model_differences(was, now),
        ),
        _aspect(
            "predictions",
            f"of {len(recorded.predictions):,} images, {short_hash(was.result.predictions_sha256)}",
            [] if has_same_predictions else prediction_differences(recorded.predictions, rebuilt.predictions),
        ),
        _aspect(
            "metrics",
            f"{len(was.result.metrics)} numbers",
            metric_differences(was.result.metrics, now.result.metrics),
        ),
    )
    files = _aspect("files", f"{len(was.files)} on the way to it", file_differences(was.files, now.files))
    return Comparison(causes, files, results, was.unverified)


def _aspect(name: str, recorded: str, differences: list[str]) -> Aspect:
    return Aspect(name, recorded, tuple(differences))


def _code(receipt: Receipt) -> str:
    code = receipt.code
    commit = f"commit {code.commit[:12]}" if code.commit else "no commit"
    changed = f" with {len(code.changed)} uncommitted" if code.changed else ""
    return f"{commit}{changed}, {len(code.files)} files"


def _parameters(receipt: Receipt) -> str:
    seeds = set(receipt.seeds.values())
    told = f"seed {next(iter(seeds))}" if len(seeds) == 1 else f"{len(seeds)} different seeds"
    return f"{len(list(dotted(receipt.parameters)))}, {told}"


def _machine(receipt: Receipt) -> str:
    told = (receipt.machine.get(name) for name in ("gpu", "cpu", "precision"))
    return ", ".join(str(one) for one in told if one)
