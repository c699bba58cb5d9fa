"""The report's tables: what stands in their rows, as text.

Knows metrics and choices as dicts, and no template.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from regraft.evaluation.estimate_texts import difference_text, interval_text, number_text
from regraft.evaluation.figure_style import percent
from regraft.evaluation.label_noise import describe_ceiling
from regraft.evaluation.metrics import METRICS
from regraft.evaluation.predictions import BASELINE_TITLES, MODELS
from regraft.evaluation.several.scores import facts_of
from regraft.evaluation.split_kinds import KINDS, describe_split_kinds

_AS_IF_EVEN = (
    "so it gives the probabilities of a world in which all classes are equally frequent: the rare ones are found "
    "more often, at more false alarms, and log-loss and calibration error on test suffer."
)
BALANCE_SENTENCES = {
    "none": "Classes of unequal size were learnt from as they are, so a rare class needs more evidence.",
    "class_weights": "The loss of each image was weighted so that every class counts the same, "
    + _AS_IF_EVEN,
    "balanced_sampler": "Every class was drawn equally often, " + _AS_IF_EVEN,
}


def comparison_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a metric: both models on test, the difference, and val; of several targets under their headings."""
    if metrics.get("targets"):
        headings = _headings(list(metrics["test"][MODELS[0]]), metrics["targets"])
    else:
        headings = dict.fromkeys(METRICS, "")
    return [
        {
            "heading": heading,
            "title": row.title,
            "is_headline": row.is_headline,
            "direction": "↑" if row.higher_is_better else "↓",
            "test": [interval_text(metrics["test"][model][name], name) for model in MODELS],
            "difference": difference_text(metrics["test"]["difference"][name], name),
            "is_clear": _is_clear(metrics["test"]["difference"][name]),
            "val": [number_text(metrics["val"][model][name]["value"], name) for model in MODELS],
            "reasons": sorted(
                {of[name]["reason"] for of in metrics["test"].values() if "reason" in of[name]}
            ),
        }
        for name, heading in headings.items()
        for row in [facts_of(name)]
    ]


def split_kinds_table(found: Mapping[str, Any]) -> dict[str, Any]:
    """A row a predictor: its accuracy if images are split at random, and if whole groups are held out."""
    titles = {"probe": "Linear probe, cross-validated"} | {
        name: f"No pixels: {BASELINE_TITLES[name]}" for name in ("group_majority", "majority_class")
    }
    rows = [
        [title, *(interval_text(found[kind][name]["accuracy"], "accuracy") for kind in KINDS)]
        for name, title in titles.items()
        if found["random"]
    ]
    return {"rows": rows, "sentence": describe_split_kinds(found), **found}


def label_noise_table(noise: Mapping[str, Any] | None) -> dict[str, Any]:
    """A row for certain and one for uncertain images: how many, and both models' accuracy; none where all labels are
    taken for certain."""
    if noise is None:
        return {"rows": []}
    rows = [
        [
            f"{kind.capitalize()} labels",
            f"{noise[kind]['num_images']:,}",
            *(interval_text(noise[kind][model], "accuracy") for model in MODELS),
        ]
        for kind in ("certain", "uncertain")
    ]
    return {"rows": rows, "sentence": describe_ceiling(noise)}


def class_rows(per_class: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A row a class: test images, then recall, precision and F1 of both models."""
    tables = [per_class[model] for model in MODELS]
    return [
        {
            "label_name": rows[0]["label_name"],
            "support": rows[0]["support"],
            "numbers": [
                "–" if row[key] is None else percent(row[key])
                for key in ("recall", "precision", "f1")
                for row in rows
            ],
        }
        for rows in zip(*tables, strict=True)
    ]


def balance_table(balance: Mapping[str, Any]) -> dict[str, Any]:
    """What was done about classes of unequal size, and a row a way that was tried."""
    return {
        "sentence": BALANCE_SENTENCES[balance["chosen"]],
        "reason": f"Chosen by {balance['reason']}." if balance["asked"] == "auto" else "",
        "rows": [
            [
                f"{row['balance'].replace('_', ' ')}{', chosen' * (row['balance'] == balance['chosen'])}",
                f"{row['balanced_log_loss']:.3f}",
                f"+{row['excess']:.3f} ± {row['standard_error']:.3f}" if row["excess"] else "least",
                percent(row["balanced_accuracy"]),
                f"{row['log_loss']:.3f}",
                percent(row["accuracy"]),
            ]
            for row in balance["candidates"]
        ],
    }


def count_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row a class and one for all: images in train, val and test."""
    splits = ("train", "val", "test")
    rows = [
        {"title": name, "counts": [metrics["class_counts"][split][name] for split in splits]}
        for name in metrics["label_names"]
    ]
    return [*rows, {"title": "all", "counts": [metrics["num_images"][split] for split in splits]}]


def _headings(names: Sequence[str], targets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By metric what stands above its row: its target where it is the first of it, else nothing."""
    titles = {
        target["name"]: target["name"] + (", of the image's side" if target["kind"] == "points" else "")
        for target in targets
    }
    headings: dict[str, str] = {}
    for name in names:
        title = titles.get(name.rpartition(".")[0], "all targets")
        headings[name] = "" if title in headings.values() else title
    return headings


def _is_clear(estimate: Mapping[str, Any]) -> bool:
    """Whether the interval lies on one side of 0."""
    return estimate["low"] is not None and not estimate["low"] <= 0 <= estimate["high"]
