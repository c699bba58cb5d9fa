"""The model card: what a registered model is, how well it does, what it is not for, and how to load it.

Knows metrics and facts as plain data: no registry's client, no version, no run, no clock.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regraft.registry.card_text import bullets, some_names, table, with_interval
from regraft.registry.several_card import limits_of_several, table_of_several

_MODELS = {"probe": "Probe", "fine_tuned": "Fine-tuned"}
_FRACTIONS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC AUC",
    "expected_calibration_error": "Calibration error (lower is better)",
}
_LOSSES = {"log_loss": "Log loss in nats (lower is better)"}
_FEW_IMAGES = 30  # of a class on test: its recall is known to about ±18 points at best


@dataclass(frozen=True)
class ModelFacts:
    """What metrics do not say of a model.

    Attributes:
        title: Heading of the card: the name it is registered under.
        task: A sentence: what it tells apart in what kind of image.
        backbone: Architecture, cut, weights, their source, licence and sha256, by name.
        preprocessing: Size, fit, interpolation, mean and std, by name.
        settings: Of head and fine-tuning, nested as in the configuration.
        loading: Python that loads it and classifies an image.
        data_notes: Sentences on the images: their licence, what was inferred about them.
    """

    title: str
    task: str
    backbone: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    settings: Mapping[str, Any]
    loading: str
    data_notes: Sequence[str] = field(default=())


def model_card(
    metrics: Mapping[str, Any],
    registration: Mapping[str, Any],
    ingest_report: Mapping[str, Any],
    facts: ModelFacts,
) -> str:
    """Write the card.

    Args:
        metrics: What was measured on val and test: see `evaluation.measure`, or `evaluation.several.measure`.
        registration: What `decide_promotion` or `decide_several` gave.
        ingest_report: `num_unreadable`, `excluded`, `duplicates`, `duplicates_with_two_labels`; what is not
            there is not told.
        facts: All else.

    Returns:
        Markdown, the same for the same input.
    """
    model = registration["model"]
    sections = {
        "Result": _result(metrics, model),
        "Intended use and limits": bullets(_limits(metrics, model)),
        "How to load it": f"```python\n{facts.loading.strip()}\n```",
        "Data": _data(metrics, ingest_report, facts.data_notes),
        "Backbone": _rows(facts.backbone),
        "Preprocessing": _rows(facts.preprocessing),
        "Training": _rows(dict(_dotted(facts.settings))),
        "Why this model": bullets(registration["reasons"]),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    kind = "probe, a new head on frozen features" if model == "probe" else "fine-tuned model"
    return f"# {facts.title}\n\n{facts.task} This is the {kind}.\n\n{body}\n"


def _result(metrics: Mapping[str, Any], model: str) -> str:
    """The registered model beside the other one, and what needs no pixels."""
    other = next(name for name in _MODELS if name != model)
    models = {model: f"{_MODELS[model]} (registered)", other: _MODELS[other]}
    if metrics.get("targets"):
        return (
            f"{table_of_several(metrics, models)}\n\n{_in_brackets(metrics)} The last three columns are reached "
            "without looking at a pixel."
        )
    lines = [
        [title, *(with_interval(metrics["test"][which][name], name in _FRACTIONS) for which in models)]
        for name, title in {**_FRACTIONS, **_LOSSES}.items()
    ]
    baselines = metrics["baselines"]
    without_pixels = [
        f"{title} {with_interval(baselines[name]['accuracy'], is_fraction=True)}"
        for name, title in (
            ("majority_class", "the most frequent class"),
            ("group_majority", "the majority of the image's group"),
            ("metadata", "the model of the files' metadata"),
        )
        if baselines[name]["accuracy"]["value"] is not None
    ]
    return (
        f"{table(['Test', *models.values()], lines, are_numbers=True)}\n\n{_in_brackets(metrics)} "
        f"Accuracy without looking at a pixel: {', '.join(without_pixels)}."
    )


def _in_brackets(metrics: Mapping[str, Any]) -> str:
    """What the intervals are."""
    resampling = metrics["resampling"]
    drawn = "whole groups" if resampling["test"]["unit"] == "group" else "images"
    return (
        f"On {metrics['num_images']['test']:,} test images; in brackets "
        f"{100 * resampling['confidence']:g} % bootstrap intervals over {resampling['num_resamples']:,} "
        f"resamples of {drawn}."
    )


def _limits(metrics: Mapping[str, Any], model: str) -> Iterator[str]:
    """What the numbers do and do not speak for."""
    if metrics.get("targets"):
        scope, *others = limits_of_several(metrics, model, few_images=_FEW_IMAGES)
    else:
        scope, *others = _limits_of_label(metrics, model)
    yield scope
    if metrics["resampling"]["test"]["unit"] == "group":
        yield "The test images are of groups not trained on: the result speaks of new groups of this kind."
    else:
        yield (
            "The test images have the same origin as those trained on: the result speaks of more of these, "
            "not of another camera, place or time."
        )
    yield "Measured on one trained model against the given labels, which are taken as true."
    yield from others
    yield from metrics["notes"]


def _limits_of_label(metrics: Mapping[str, Any], model: str) -> Iterator[str]:
    """What the numbers of one label do not speak for."""
    names = metrics["label_names"]
    yield f"Every image gets one of {len(names)} labels ({some_names(names)}), also one that shows none of them."
    counts = metrics["class_counts"]["test"]
    few = [f"{name} ({count})" for name, count in counts.items() if count < _FEW_IMAGES]
    if few:
        yield f"Few test images, so little is known: {some_names(few)}."
    gap = metrics["test"][model]["expected_calibration_error"]["value"]
    yield f"Its confidence is off by {100 * gap:.1f} percentage points on average."


def _data(metrics: Mapping[str, Any], ingest_report: Mapping[str, Any], notes: Sequence[str]) -> str:
    """Images by class and split, and what ingest left out or found twice."""
    splits = ("train", "val", "test")
    rows = [
        [name, *(f"{metrics['class_counts'][split][name]:,}" for split in splits)]
        for name in metrics["label_names"]
    ]
    rows.append(["**all**", *(f"**{metrics['num_images'][split]:,}**" for split in splits)])
    heading = ["Split by" if metrics.get("targets") else "Class", *splits]
    sentences = [
        f"{what}: {number}."
        for number, what in (
            (ingest_report.get("num_unreadable", 0), "Images that could not be read and are left out"),
            (len(ingest_report.get("excluded", ())), "Images excluded by the configuration"),
            (
                len(ingest_report.get("duplicates", ())),
                "Sets of images with the same pixels",
            ),
            (len(ingest_report.get("duplicates_with_two_labels", ())), "Sets of such images with two labels"),
        )
        if number
    ]
    return table(heading, rows, are_numbers=True) + "".join(
        f"\n\n{part}" for part in [bullets([*notes, *sentences])] if part
    )


def _dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _rows(facts: Mapping[str, Any]) -> str:
    """A table of names and values."""
    lines = [[f"`{key}`", str(value)] for key, value in facts.items()]
    return table(["Name", "Value"], lines, are_numbers=False)
