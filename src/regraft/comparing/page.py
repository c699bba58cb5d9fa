"""The page of a comparison: who was tried, how well each does, at what price, and which differences are real.

Knows what `compare_models` gives and a figure: no model, no file, no clock; the page asks nothing of a network.
"""

import base64
from collections.abc import Mapping
from importlib import resources
from typing import Any

import jinja2
from matplotlib.figure import Figure

from regraft.comparing.shown import compared_by, metric_words, target_metrics
from regraft.evaluation.estimate_texts import difference_text, interval_text, number_text
from regraft.evaluation.figure_style import MODEL_COLOURS, png_bytes
from regraft.evaluation.plain_tables import dotted
from regraft.evaluation.several.scores import MAX_SHOWN, facts_of

_PIXELS_PER_INCH = 100
_VARIANTS = {"probe": "probe", "fine_tuned": "fine-tuned"}


def render_comparison(comparison: Mapping[str, Any], figure: Figure, *, settings: Mapping[str, Any]) -> str:
    """Render the page.

    Args:
        comparison: What `compare_models` gave.
        figure: What `comparison_figure` drew of it.
        settings: Options of the run, nested as in the configuration.

    Returns:
        HTML that holds everything it shows.
    """
    facts, metrics = facts_of(compared_by(comparison)), target_metrics(comparison)
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("regraft.comparing").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        title=f"{len(comparison['models'])} backbones compared",
        headline=headline(comparison),
        verdict=verdict(comparison),
        metric=facts_of(comparison["selection_metric"]).title,
        compared_by=facts.title.removesuffix(" (nats)"),
        unit="points" if facts.is_fraction else "nats",
        is_higher_better=facts.higher_is_better,
        rows=[_row(row, comparison) for row in comparison["models"]],
        targets=[metric_words(metric) for metric in metrics[:MAX_SHOWN]],
        num_targets=len(metrics),
        figure={
            "png": base64.b64encode(png_bytes(figure)).decode(),
            "width": round(figure.get_size_inches()[0] * _PIXELS_PER_INCH),
        },
        method=_method(comparison),
        command=finetune_command(comparison),
        colours=MODEL_COLOURS,
        settings=list(dotted(settings)),
    )


def headline(comparison: Mapping[str, Any]) -> str:
    """The choice in a sentence."""
    best = comparison["models"][0]
    metric = comparison["selection_metric"]
    value = best["val"][best["variant"]][metric]["value"]
    test = best["test"][best["variant"]]
    chosen = (
        f"Chosen on val: {best['model']}, {_VARIANTS[best['variant']]} ({facts_of(metric).title.lower()} "
        f"{number_text(value, metric)})."
    )
    num_images, metrics = f"{comparison['num_images']['test']:,}", target_metrics(comparison)
    if not metrics:
        return f"{chosen} Of {num_images} test images it gets {interval_text(test['accuracy'], 'accuracy')} right."
    reached = [f"{metric_words(one)} {interval_text(test[one], one)}" for one in metrics[:MAX_SHOWN]]
    if len(metrics) > MAX_SHOWN:
        reached.append(f"{len(metrics) - MAX_SHOWN} more targets are in comparison.csv")
    return f"{chosen} On {num_images} test images: {'; '.join(reached)}."


def verdict(comparison: Mapping[str, Any]) -> str:
    """Which of the others are surely worse, or better, on test."""
    others = comparison["models"][1:]
    sign = 1 if facts_of(compared_by(comparison)).higher_is_better else -1
    clear = [row for row in others if row["difference"]["is_clear"]]
    worse = [row["model"] for row in clear if sign * row["difference"]["value"] < 0]
    better = [row["model"] for row in clear if sign * row["difference"]["value"] > 0]
    rest = [row["model"] for row in others if not row["difference"]["is_clear"]]
    parts = []
    if worse:
        parts.append(f"Surely worse on test: {', '.join(worse)}.")
    if better:
        parts.append(f"Surely better on test, though val chose otherwise: {', '.join(better)}.")
    if rest:
        parts.append(f"Not to be told apart from it on these images: {', '.join(rest)}.")
    return " ".join(parts) or "There was nothing to compare it with."


def finetune_command(comparison: Mapping[str, Any]) -> str:
    """What makes the chosen model in the main job."""
    parameters = comparison["models"][0]["parameters"]
    weights = {key: value for key, value in parameters["weights"].items() if value is not None}
    changes = [f"build_backbone.name={parameters['name']}"]
    if weights != {"kind": "pretrained"}:
        listed = ", ".join(f"{key}: {value}" for key, value in weights.items())
        changes.append(f"build_backbone.weights={{{listed}}}")
    if parameters["cut"] is not None:
        changes.append(f"build_backbone.cut={parameters['cut']}")
    told = ",".join(changes)
    return f"kedro run --pipeline finetune --params {told if len(changes) == 1 else chr(34) + told + chr(34)}"


def _row(row: Mapping[str, Any], comparison: Mapping[str, Any]) -> dict[str, Any]:
    difference, test, metric = row["difference"], row["test"][row["variant"]], comparison["selection_metric"]
    score = compared_by(comparison)
    return {
        "model": row["model"],
        "weights": row["weights"],
        "variant": row["variant"],
        "variant_title": _VARIANTS[row["variant"]],
        "val": number_text(row["val"][row["variant"]][metric]["value"], metric),
        "score": interval_text(test[score], score),
        "targets": [interval_text(test[one], one) for one in target_metrics(comparison)[:MAX_SHOWN]],
        "difference": "chosen" if difference is None else difference_text(difference, score),
        "p_value": "" if difference is None else _p_value(difference["adjusted_p_value"]),
        "is_clear": difference is not None and difference["is_clear"],
        "minutes": f"{row['minutes']:.1f}",
        "parameters": f"{row['num_parameters'] / 1e6:.1f} M",
        "megabytes": f"{row['megabytes']:.0f}",
        "speed": f"{row['images_per_second']:.0f}",
        "outcome": row["outcome"],
    }


def _method(comparison: Mapping[str, Any]) -> str:
    count, confidence = comparison["num_comparisons"], f"{100 * comparison['confidence']:g} %"
    drawn = {"image": "images", "group": "whole groups, none of which was trained on"}[
        comparison["resampling"]["test"]
    ]
    joint = (
        "The joint loss is the sum over the targets of what an image costs, in nats: the log-loss of classes, and of "
        "numbers and points half a nat for a squared error as large as the least that any probe makes on images held "
        "out. It chooses on val, and differences are in it: below 0 is better. "
    )
    return (joint if target_metrics(comparison) else "") + (
        f"Scores stand with {confidence} bootstrap intervals over {drawn}. Differences are paired, image by image, "
        f"and corrected for {count} comparison{'s' * (count != 1)} with the chosen model: the intervals hold all at "
        f"once with {confidence} (Bonferroni), p-values are of the sign-flip test, adjusted by Holm's method. Every "
        "image is looked at once, as it is; the main job may average several views, which adds a little. Test was "
        "read once, after the choice."
    )


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
