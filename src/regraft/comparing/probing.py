"""The cheapest evidence on a candidate: a solved linear probe on features that are computed once.

Knows one candidate at a time; nothing of who is better.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from regraft.classifier import assemble
from regraft.classifier.classifier import Classifier, predict_together
from regraft.classifier.files import Head
from regraft.comparing.bench import Bench, OnBench, Stopwatch
from regraft.comparing.candidates import Candidate
from regraft.comparing.tried import Floats, Tried, pack, unpack
from regraft.evaluation.metrics import accuracy
from regraft.heads.layers import LinearLayers
from regraft.messages import about_model, report_metrics, report_tags
from regraft.training.depth import probe_depths
from regraft.training.feature_columns import stage_columns
from regraft.training.head import fit_head
from regraft.training.linear_probe import SolverSettings
from regraft.training.reproducibility import Compute, map_streams
from regraft.training.units import units_of

_TIMED_IMAGES = 64


@dataclass(frozen=True)
class Probed:
    """A candidate with its probe as a classifier, to be fine-tuned from."""

    on_bench: OnBench
    classifier: Classifier


def probe_candidates(candidates: Sequence[Candidate], bench: Bench, settings: SolverSettings) -> list[Tried]:
    """Probe one candidate after another, each told of as a model of its own when it is done; see `probe_candidate`."""
    found = []
    for candidate in candidates:
        with about_model(candidate.label, parameters={"build_backbone": candidate.parameters()}):
            probe = probe_candidate(candidate, bench, settings)
            report_tags({"backbone": candidate.name, "weights": probe.facts["weights"]})
            report_metrics(
                {
                    "val/probe/accuracy": accuracy(
                        probe.probabilities["val"], bench.labels[bench.rows("val")]
                    ),
                    "minutes/probe": probe.facts["seconds"] / 60,
                },
                step=0,
            )
        found.append(probe)
    return found


def probe_candidate(candidate: Candidate, bench: Bench, settings: SolverSettings) -> Tried:
    """Solve a probe on the candidate's features at its cut, or take what was found before of the very same.

    Every image is looked at as it is, not in several views.

    Args:
        candidate: Which.
        bench: See there.
        settings: Of the solver; its penalty is chosen within `train`.

    Returns:
        Probabilities of `held_out` (train and val, each image by a probe fitted on other groups), `val` and `test`.
    """
    on_bench = OnBench(candidate, bench)
    key = f"probe-{probe_key(on_bench, bench, settings)}"
    if (kept := bench.results.read(key)) is not None:
        return replace(unpack(kept)[0], label=candidate.label)
    features = on_bench.features()
    watch = Stopwatch()
    with watch:
        head, history = fit_head(
            features,
            on_bench.backbone.feature_dims,
            bench.manifest,
            bench.label_names,
            layers=LinearLayers(),
            settings=settings,
        )
    at_cut = stage_columns(on_bench.backbone.feature_dims)[on_bench.backbone.cut]
    seen = bench.rows("train", "val")
    penalty = float(history["summary"]["penalty"])
    with watch:
        held_out = held_out_probabilities(
            np.ascontiguousarray(features[seen, at_cut]),
            bench.labels[seen],
            groups=units_of(bench.manifest.iloc[seen]),
            num_classes=len(head.target.answer_names),
            settings=settings,
        )
    probabilities = {
        split: _probabilities(head, features, bench.rows(split), at_cut) for split in ("val", "test")
    }
    cost = on_bench.preparation_cost() + watch.cost
    classifier = assemble(on_bench.backbone, head, on_bench.preprocessing, views="identity")
    facts = {
        "backbone": candidate.name,
        "weights": on_bench.backbone.receipt.name if on_bench.backbone.receipt else "not known",
        "cut": on_bench.backbone.cut,
        "parameters": candidate.parameters(),
        "size": on_bench.preprocessing.size,
        "num_parameters": sum(parameter.numel() for parameter in classifier.parameters()),
        "num_bytes": sum(
            tensor.numel() * tensor.element_size() for tensor in classifier.state_dict().values()
        ),
        "images_per_second": _images_per_second(classifier, on_bench, bench.compute),
        "penalty": penalty,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "pixels": on_bench.pixels_key,
        "pixels_seconds": on_bench.pixels_cost().seconds,
        "pixels_cpu_seconds": on_bench.pixels_cost().cpu_seconds,
    }
    tried = Tried(candidate.label, "probe", {"held_out": held_out, **probabilities}, facts)
    bench.results.write(key, pack([tried]))
    return tried


def rebuild_probe(candidate: Candidate, bench: Bench, settings: SolverSettings) -> Probed:
    """The probe as a classifier; its features are kept, so only the head is solved again."""
    on_bench = OnBench(candidate, bench)
    head, _ = fit_head(
        on_bench.features(),
        on_bench.backbone.feature_dims,
        bench.manifest,
        bench.label_names,
        layers=LinearLayers(),
        settings=settings,
    )
    return Probed(on_bench, assemble(on_bench.backbone, head, on_bench.preprocessing, views="identity"))


def held_out_probabilities(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.int64],
    num_classes: int,
    settings: SolverSettings,
) -> Floats:
    """Probabilities of every image by a probe that has not learnt from its group.

    Args:
        features: `(N, D)` float32.
        labels: `(N,)` int64 in [0, num_classes).
        groups: `(N,)` group numbers; a group is never on both sides of a fold.
        num_classes: K.
        settings: Folds, and the penalties that each is fitted with.

    Returns:
        `(N, K)` float64, rows sum to 1; 1 / K where no fold that holds a row out leaves every class to learn from.

    Raises:
        ValueError: If no fold can be made of the groups.
    """
    probe, *_ = probe_depths(
        features,
        {"cut": features.shape[1]},
        labels,
        num_classes=num_classes,
        groups=groups,
        settings=settings,
    )
    found = probe.probabilities
    return np.where(np.isnan(found), 1 / num_classes, found)


def probe_key(on_bench: OnBench, bench: Bench, settings: SolverSettings) -> str:
    """All that a candidate's probe follows from, hashed."""
    table = bench.manifest[["split", bench.column, "group"]].to_csv(index=False)
    text = f"{on_bench.features_key} {on_bench.backbone.cut} {settings} {bench.label_names} {table}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _probabilities(
    head: Head, features: NDArray[np.float32], rows: NDArray[np.int64], at_cut: slice
) -> Floats:
    with torch.inference_mode():
        logits = head.modules(torch.from_numpy(np.ascontiguousarray(features[rows, at_cut])))
        probabilities: Floats = head.target.answers(logits).numpy()
        return probabilities


def _images_per_second(classifier: Classifier, on_bench: OnBench, compute: Compute) -> float:
    """Of the model as it would be served, on the device and streams of this run, images as they are."""
    serving = [classifier.for_inference().to(compute.device)]
    size = on_bench.batch_size
    some = np.array(on_bench.pixels()[:_TIMED_IMAGES])
    batches = [some[start : start + size] for start in range(0, len(some), size)]

    def predict(batch: NDArray[np.uint8]) -> int:
        return len(predict_together(serving, batch, shared=None)[0])

    predict(batches[0])  # the first pass also allocates
    watch = Stopwatch()
    with watch:
        num_images = sum(map_streams(predict, batches, compute=compute))
    return num_images / watch.cost.seconds
