"""What the report says of several targets: sentences, tiles, tables and captions, shaped as those of one label.

Knows metrics as `measure_several` gives them; no template, no figure.
"""

from collections.abc import Mapping
from typing import Any, Final

from regraft.evaluation.estimate_texts import difference_text, interval_text, number_text
from regraft.evaluation.figure_style import MODEL_COLOURS
from regraft.evaluation.predictions import MODELS
from regraft.evaluation.several.baselines import BASELINES
from regraft.evaluation.several.notes import BASELINE_TITLES, METRIC_WORDS
from regraft.evaluation.several.scores import JOINT_LOSS, MAX_SHOWN, facts_of
from regraft.training.target_answers import Target, headline_metric

CAPTIONS: Final = {
    "scores": "Dots are scores on test, lines their intervals, each target on an axis of its own. On the right what "
    "fine-tuning changes, measured on the same images; a hollow square may be chance, for its interval holds 0. The "
    "joint loss sums what an image costs by every target, in nats: half a nat is a squared error as large as the "
    "probe's on val, or a class given a probability of 61 %.",
    "answers": "What was said against what is true. Classes: rows are the labels, coloured by the fraction of the "
    "label's images. Numbers: a dot an image, right on the dashed line. Points: where each is on the average, in a "
    "circle as wide as it is missed on the average.",
    "parts": "Where the errors are: classes and points that are told worst come first, numbers are in four parts of "
    "as many images. What is told of few images says little.",
    "sureness": "Of classes, images in bins by the probability of the predicted one: on the dashed line a confidence "
    "of 80 % is right in 80 % of cases. Of numbers and points, how many images have which error.",
    "training": "How the head and the fine-tuning went, a line a target, each over its own best or its own start; "
    "losses are sums over the targets. Train losses include augmentation and label smoothing, so they can lie above "
    "val. Calibrated: the loss were the model not too sure of itself.",
    "contact_sheet": "Any of the training images, as the network sees them.",
    "mistakes": "Wrong in the table, an odd image, or something learnt wrongly: worth a look, one by one. An arrow "
    "leads from what is true to what the model says.",
}


def headline(metrics: Mapping[str, Any]) -> str:
    """The result in one sentence: a target's headline metric of both models and of one answer for all images.

    Of many targets the first are told.
    """
    confidence = f"{100 * metrics['resampling']['confidence']:g} %"
    targets = metrics["targets"]
    parts = [_result(target, metrics) for target in targets[:MAX_SHOWN]]
    if len(targets) > MAX_SHOWN:
        parts.append(f"{len(targets) - MAX_SHOWN} more targets are in the table")
    return f"On {metrics['num_images']['test']:,} test images ({confidence} intervals in brackets): {'; '.join(parts)}."


def verdict(metrics: Mapping[str, Any]) -> str:
    """Whether fine-tuning has changed a target by more than chance, in a sentence each, and one for all together.

    Of many targets it is counted how many it has.
    """
    targets = metrics["targets"]
    if len(targets) > MAX_SHOWN:
        of_target = [_count_changes(metrics)]
    else:
        of_target = [
            _change(target["name"], headline_metric(target), METRIC_WORDS[target["kind"]], metrics)
            for target in targets
        ]
    return " ".join([*of_target, _change("All together", JOINT_LOSS, "joint loss", metrics)])


def tiles(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """A tile a target, of the first: what the fine-tuned model scores on test."""
    found = []
    for target in metrics["targets"][:MAX_SHOWN]:
        metric = headline_metric(target)
        estimate = metrics["test"]["fine_tuned"][metric]
        value, _, interval = interval_text(estimate, metric).partition(" (")
        found.append(
            {
                "title": f"{target['name']}: {METRIC_WORDS[target['kind']]}",
                "value": value,
                "interval": interval.removesuffix(")") + (" %" if facts_of(metric).is_fraction else ""),
                "colour": MODEL_COLOURS["fine_tuned"],
            }
        )
    return found


def baseline_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """A row a target: its metric, and what is reached without a pixel: by one answer, the group's, the files'."""
    return [
        [
            f"{target['name']}: {METRIC_WORDS[target['kind']]}",
            *(_baseline(metrics["baselines"][baseline][metric], metric) for baseline in BASELINES),
        ]
        for target in metrics["targets"]
        for metric in [headline_metric(target)]
    ]


def captions(fine_tune_history: Mapping[str, Any]) -> dict[str, str]:
    """Those of every figure, with what is known of this run."""
    too_sure = {
        name: temperature
        for name, temperature in fine_tune_history.get("temperatures", {}).items()
        if temperature > 1
    }
    if not too_sure:
        return dict(CAPTIONS)
    divided = ", ".join(f"{name} by {temperature:.3g}" for name, temperature in too_sure.items())
    told = (
        f" On val the fine-tuned model was too sure of itself, so logits are divided: {divided}; the likeliest class "
        "stays."
    )
    return CAPTIONS | {"sureness": CAPTIONS["sureness"] + told}


def _result(target: Target, metrics: Mapping[str, Any]) -> str:
    """`age, mean absolute error 3.51 (3.11 to 3.86) fine-tuned, 5.80 (5.21 to 6.53) by the probe, …`."""
    metric, kind = headline_metric(target), target["kind"]
    probe, tuned = (interval_text(metrics["test"][model][metric], metric) for model in MODELS)
    side = " of the image's side" if kind == "points" else ""
    constant = number_text(metrics["baselines"]["constant"][metric]["value"], metric)
    return (
        f"{target['name']}, {METRIC_WORDS[kind]} {tuned}{side} fine-tuned, {probe} by the probe, {constant} without "
        f"looking at a pixel ({BASELINE_TITLES[kind]['constant']})"
    )


def _change(name: str, metric: str, words: str, metrics: Mapping[str, Any]) -> str:
    difference = metrics["test"]["difference"][metric]
    unit = " points of" if facts_of(metric).is_fraction else " in"
    change = f"{difference_text(difference, metric)}{unit} {words}"
    effect = _effect(metric, difference)
    if effect is None:
        return f"{name}: the two cannot be told apart, a difference of {change}."
    return f"{name}: fine-tuning {effect}, {change}."


def _count_changes(metrics: Mapping[str, Any]) -> str:
    """`Fine-tuning helps 30 of 40 targets and hurts 2 (bald, hat); the others cannot be told apart.`"""
    effects = {
        target["name"]: _effect(metric, metrics["test"]["difference"][metric])
        for target in metrics["targets"]
        for metric in [headline_metric(target)]
    }
    hurt = [name for name, effect in effects.items() if effect == "hurts"]
    names = f" ({', '.join(hurt)})" if hurt else ""
    num_helped = sum(effect == "helps" for effect in effects.values())
    return (
        f"Fine-tuning helps {num_helped} of {len(effects)} targets and hurts {len(hurt)}{names}; of the others the two "
        "models cannot be told apart."
    )


def _effect(metric: str, difference: Mapping[str, Any]) -> str | None:
    """What fine-tuning does to a metric; None where the interval holds 0."""
    if difference["low"] is None or difference["low"] <= 0 <= difference["high"]:
        return None
    return "helps" if (difference["value"] > 0) == facts_of(metric).higher_is_better else "hurts"


def _baseline(estimate: Mapping[str, Any], metric: str) -> str:
    return estimate["reason"] if estimate["value"] is None else interval_text(estimate, metric)
