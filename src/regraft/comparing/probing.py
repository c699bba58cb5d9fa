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
from regraft.messages import about_model, report_metrics, report_tags
from regraft.training.feature_columns import stage_columns
from regraft.training.linear_probe import SolverSettings
from regraft.training.reproducibility import Compute, map_streams

_TIMED_IMAGES = 64


@dataclass(frozen=True)
class Probed:
    """A candidate with its probe as a classifier, to be fine-tuned from."""

    on_bench: OnBench
    classifier: Classifier


def probe_candidates(candidates: Sequence[Candidate], bench: Bench, settings: SolverSettings) -> list[Tried]:
    """Probe one candidate after another, each told of as a model of its own when it is done; see `probe_candidate`."""
    found = []
    val = bench.manifest.iloc[bench.rows("val")]
    for candidate in candidates:
        with about_model(candidate.label, parameters={"build_backbone": candidate.parameters()}):
            probe = probe_candidate(candidate, bench, settings)
            report_tags({"backbone": candidate.name, "weights": probe.facts["weights"]})
            early = bench.task.early_metrics(probe.probabilities["val"], val)
            report_metrics(
                {
                    **{f"val/probe/{name}": value for name, value in early.items()},
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
        Answers to `held_out` (train and val, each image by a probe fitted on other groups), `val` and `test`.
    """
    on_bench = OnBench(candidate, bench)
    key = f"probe-{probe_key(on_bench, bench, settings)}"
    if (kept := bench.results.read(key)) is not None:
        return replace(unpack(kept)[0], label=candidate.label)
    features = on_bench.features()
    watch = Stopwatch()
    with watch:
        head, penalties = bench.task.fit(features, on_bench.backbone.feature_dims, bench.manifest, settings)
    at_cut = stage_columns(on_bench.backbone.feature_dims)[on_bench.backbone.cut]
    seen = bench.rows("train", "val")
    with watch:
        held_out = bench.task.held_out(
            np.ascontiguousarray(features[seen, at_cut]), bench.manifest.iloc[seen], settings
        )
    answers = {split: _answers(head, features, bench.rows(split), at_cut) for split in ("val", "test")}
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
        **penalties,
        "seconds": cost.seconds,
        "cpu_seconds": cost.cpu_seconds,
        "pixels": on_bench.pixels_key,
        "pixels_seconds": on_bench.pixels_cost().seconds,
        "pixels_cpu_seconds": on_bench.pixels_cost().cpu_seconds,
    }
    tried = Tried(candidate.label, "probe", {"held_out": held_out, **answers}, facts)
    bench.results.write(key, pack([tried]))
    return tried


def rebuild_probe(candidate: Candidate, bench: Bench, settings: SolverSettings) -> Probed:
    """The probe as a classifier; its features are kept, so only the head is solved again."""
    on_bench = OnBench(candidate, bench)
    head, _ = bench.task.fit(on_bench.features(), on_bench.backbone.feature_dims, bench.manifest, settings)
    return Probed(on_bench, assemble(on_bench.backbone, head, on_bench.preprocessing, views="identity"))


def probe_key(on_bench: OnBench, bench: Bench, settings: SolverSettings) -> str:
    """All that a candidate's probe follows from, hashed."""
    text = f"{on_bench.features_key} {on_bench.backbone.cut} {settings} {bench.task.identity(bench.manifest)}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _answers(head: Head, features: NDArray[np.float32], rows: NDArray[np.int64], at_cut: slice) -> Floats:
    with torch.inference_mode():
        logits = head.modules(torch.from_numpy(np.ascontiguousarray(features[rows, at_cut])))
        answers: Floats = head.target.answers(logits).numpy()
        return answers


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
