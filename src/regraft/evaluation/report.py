"""The report: one HTML page with the result, the figures inside it, the data and the settings.

Knows metrics, figures and plain data: no model, no file, no clock; the page asks nothing of a network.
"""

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from matplotlib.figure import Figure

from regraft.evaluation.estimate_texts import difference_text, interval_text
from regraft.evaluation.figure_style import BASELINE_COLOUR, MODEL_COLOURS, percent, png_bytes
from regraft.evaluation.plain_tables import dotted, tables_of
from regraft.evaluation.predictions import BASELINE_TITLES, MODELS
from regraft.evaluation.report_tables import (
    balance_table,
    class_rows,
    comparison_rows,
    count_rows,
    label_noise_table,
    split_kinds_table,
)
from regraft.evaluation.several import page as several
from regraft.evaluation.unfreezing import unfreezing_tables

CAPTIONS = {
    "scores": "Dots are scores on test, lines their intervals. On the right what fine-tuning changes, "
    "measured on the same images; a hollow square may be chance, for its interval holds 0.",
    "confusion_matrix": "Rows are the labels, columns what was predicted: images, coloured by the fraction "
    "of the label's images.",
    "roc": "Every threshold on the probability gives a point: how many of the second class are found, at how "
    "many false alarms. The ring is the threshold in use, 0.5.",
    "recall": "The classes that are recognised worst come first. A recall of few images says little.",
    "calibration": "Images in bins by the probability of the predicted class; the larger the dot, the more "
    "images. On the dashed line a confidence of 80 % is right in 80 % of cases.",
    "training": "How the head and the fine-tuning went. Train losses include augmentation and label "
    "smoothing, so they can lie above val. Calibrated: the loss were the model not too sure of itself.",
    "contact_sheet": "Any of the training images, as the network sees them.",
    "mistakes": "A wrong label, an odd image, or something learnt wrongly: worth a look, one by one.",
}

_SHOWN_ELSEWHERE = {"notes", "num_images"}  # of the data card
_PIXELS_PER_INCH = 100  # one for all figures, so that their letters have one size


def render_report(
    metrics: Mapping[str, Any],
    figures: Mapping[str, Figure],
    *,
    title: str,
    split_kinds: Mapping[str, Any],
    balance: Mapping[str, Any],
    fine_tune_history: Mapping[str, Any],
    data_card: Mapping[str, Any],
    contact_sheet: Figure,
    ingest_report: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """Render the page.

    Args:
        metrics: What `measure` gave.
        figures: What `make_figures` gave; shown in this order.
        title: Heading of the page, for instance the name of the model.
        split_kinds: What `compare_split_kinds` gave.
        balance: What `fit_balanced_head` chose.
        fine_tune_history: What was searched, interpolated and calibrated while fine-tuning.
        data_card: What `describe_data` gave.
        contact_sheet: Training images of each class.
        ingest_report: What ingest found: numbers, texts, and lists or mappings of them; long lists are cut,
            with their length.
        settings: Options of the run, nested as in the configuration.

    Returns:
        HTML that holds everything it shows, the same bytes for the same input.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("regraft.evaluation").joinpath("report.html.j2").read_text(encoding="utf-8")
    told = _several_told if metrics.get("targets") else _label_told
    page = told(metrics, fine_tune_history)
    captions = _with_mean(page.pop("captions"), fine_tune_history)
    return environment.from_string(source).render(
        title=title,
        **page,
        method=_method(metrics),
        warnings=ingest_report.get("warnings", []),
        notes=metrics["notes"],
        comparison=comparison_rows(metrics),
        figures=[_picture(name, figure, captions.get(name, "")) for name, figure in figures.items()],
        counts=count_rows(metrics),
        split_kinds=split_kinds_table(split_kinds),
        balance=balance_table(balance),
        unfreezing=unfreezing_tables(fine_tune_history),
        label_noise=label_noise_table(metrics["label_noise"]),
        contact_sheet=_picture("contact_sheet", contact_sheet, captions["contact_sheet"]),
        card_notes=data_card["notes"],
        card=list(tables_of({key: value for key, value in data_card.items() if key not in _SHOWN_ELSEWHERE})),
        facts=list(tables_of(ingest_report)),
        settings=list(dotted(settings)),
        colours=MODEL_COLOURS,
    )


def _label_told(metrics: Mapping[str, Any], fine_tune_history: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says where one label is learnt."""
    return {
        "headline": headline(metrics),
        "verdict": verdict(metrics),
        "tiles": _tiles(metrics),
        "baselines": [],
        "class_tables": [{"title": "Each class on test", "rows": class_rows(metrics["per_class"])}],
        "counted_by": "class",
        "captions": _label_captions(fine_tune_history),
    }


def _several_told(metrics: Mapping[str, Any], fine_tune_history: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says where several targets are."""
    return {
        "headline": several.headline(metrics),
        "verdict": several.verdict(metrics),
        "tiles": several.tiles(metrics),
        "baselines": several.baseline_rows(metrics),
        "class_tables": [
            {"title": f"{name}: each class on test", "rows": class_rows(tables)}
            for name, tables in metrics["per_class"].items()
        ],
        "counted_by": "stratum",
        "captions": several.captions(fine_tune_history),
    }


def _label_captions(fine_tune_history: Mapping[str, Any]) -> dict[str, str]:
    """Those of every figure, with what is known of this run."""
    captions, temperature = dict(CAPTIONS), fine_tune_history.get("temperature", 1)
    if temperature != 1:
        captions["calibration"] += (
            f" On val the fine-tuned model was too sure of itself, so its logits are divided by {temperature:.3g}; "
            "the likeliest class stays."
        )
    return captions


def _with_mean(captions: Mapping[str, str], fine_tune_history: Mapping[str, Any]) -> dict[str, str]:
    """Told of the training where the fine-tuned model is the mean of several."""
    counting = [row for row in fine_tune_history.get("search", ()) if row["weight"]]
    if len(counting) < 2:
        return dict(captions)
    told = (
        f" The fine-tuned model is the mean of {len(counting)} that were trained, each counting what val says of "
        "it; drawn is the one that counts most."
    )
    return {**captions, "training": captions["training"] + told}


def _picture(name: str, figure: Figure, caption: str) -> dict[str, Any]:
    """A figure as the page holds it."""
    return {
        "name": name,
        "png": base64.b64encode(png_bytes(figure)).decode(),
        "width": round(figure.get_size_inches()[0] * _PIXELS_PER_INCH),
        "caption": caption,
    }


def headline(metrics: Mapping[str, Any]) -> str:
    """The result in one sentence: both accuracies with intervals, and what no pixels give."""
    name, baseline = no_pixels_baseline(metrics)
    probe, tuned = (metrics["test"][model]["accuracy"] for model in MODELS)
    low, high = percent(tuned["low"]).removesuffix(" %"), percent(tuned["high"])
    return (
        f"Of {metrics['num_images']['test']:,} test images the fine-tuned model gets "
        f"{percent(tuned['value'])} right ({_confidence(metrics)} interval {low} to {high}), the "
        f"probe {interval_text(probe, 'accuracy')}; without looking at a pixel, the {BASELINE_TITLES[name]} "
        f"gives {interval_text(baseline, 'accuracy')}."
    )


def verdict(metrics: Mapping[str, Any]) -> str:
    """One sentence on whether fine-tuning has changed the accuracy by more than chance."""
    difference = metrics["test"]["difference"]["accuracy"]
    low, high = difference["low"], difference["high"]
    change = difference_text(difference, "accuracy")
    if low > 0:
        return f"Fine-tuning helps: {change} points of accuracy over the probe."
    if high < 0:
        return f"Fine-tuning hurts: {change} points of accuracy against the probe."
    return f"On these images the two cannot be told apart: a difference of {change} points of accuracy."


def no_pixels_baseline(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The baseline to beat: the group's majority where train has a test image's group, else the class."""
    of_group = metrics["baselines"]["group_majority"]
    if (
        of_group["accuracy"]["value"] is None
        or of_group["num_unseen_images"] == metrics["num_images"]["test"]
    ):
        return "majority_class", metrics["baselines"]["majority_class"]["accuracy"]
    return "group_majority", of_group["accuracy"]


def _tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The three accuracies side by side."""
    name, baseline = no_pixels_baseline(metrics)
    rows = [
        ("Fine-tuned", metrics["test"]["fine_tuned"]["accuracy"], MODEL_COLOURS["fine_tuned"]),
        ("Probe", metrics["test"]["probe"]["accuracy"], MODEL_COLOURS["probe"]),
        (f"No pixels: {BASELINE_TITLES[name]}", baseline, BASELINE_COLOUR),
    ]
    return [
        {
            "title": title,
            "value": percent(estimate["value"]),
            "interval": f"{percent(estimate['low'])} to {percent(estimate['high'])}",
            "colour": colour,
        }
        for title, estimate, colour in rows
    ]


def _method(metrics: Mapping[str, Any]) -> str:
    """How the intervals were made, and what they speak of."""
    resampling = metrics["resampling"]
    unit, num_units = resampling["test"]["unit"], resampling["test"]["num_units"]
    drawn, meaning = {
        "image": (f"images ({num_units:,})", "more images of the same kind and origin"),
        "group": (f"whole groups ({num_units:,}), none of which is in train or val", "images of new groups"),
    }[unit]
    return (
        f"Intervals are {_confidence(metrics)} percentile bootstrap intervals over "
        f"{resampling['num_resamples']:,} resamples of {drawn}: they speak of {meaning}, with this one "
        "trained model. Differences are paired: both models on the same resample."
    )


def _confidence(metrics: Mapping[str, Any]) -> str:
    """`95 %`."""
    return f"{100 * metrics['resampling']['confidence']:g} %"
