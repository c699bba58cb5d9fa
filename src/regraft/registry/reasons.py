"""Why a model was chosen, promoted or not: sentences in plain words, with their numbers.

Knows the decision's parts; it decides nothing.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from regraft.registry.paired import PairedComparison

TOLERATED_LOSS = 0.01  # of accuracy, where `better` is all that is required

_TITLES = {"probe": "probe", "fine_tuned": "fine-tuned model"}


def why_selected(selection: Mapping[str, Any]) -> str:
    """The choice in a sentence, with both values."""
    (other,) = set(_TITLES) - {selection["chosen"]}
    value, other_value = selection[selection["chosen"]], selection[other]
    name = selection["metric"].replace("_", " ")
    title = _TITLES[selection["chosen"]]
    if value == other_value:
        return (
            f"The {title} is registered: both have a {name} of {value:.4f} on val, and it is the simpler one."
        )
    better = "higher" if selection["higher_is_better"] else "lower"
    return f"The {title} is registered: its {name} on val is {better}, {value:.4f} against {other_value:.4f}."


def warnings(metrics: Mapping[str, Any], model: str) -> list[str]:
    """A sentence for each answer without pixels that is as good as the model on test."""
    accuracy = metrics["test"][model]["accuracy"]["value"]
    return [
        f"Beware: without looking at a pixel, the {title} scores {_percent(baseline)} on test; the model "
        f"{_percent(accuracy)}."
        for name, title in (
            ("majority_class", "most frequent class"),
            ("group_majority", "majority of the group"),
            ("metadata", "model of the files' metadata"),
        )
        if (baseline := metrics["baselines"][name]["accuracy"]["value"]) is not None and baseline >= accuracy
    ]


def why_compared(
    pairs: pd.DataFrame,
    result: PairedComparison,
    is_promoted: bool,
    require: str,
    confidence: float,
    *,
    is_champion: bool,
) -> list[str]:
    """The comparison in sentences, with its numbers."""
    num_images = len(pairs)
    reasons = []
    num_relabelled = int((pairs["label_name"] != pairs["champion_label_name"]).sum())
    if num_relabelled:
        reasons.append(
            f"{num_relabelled} of {num_images} test images have another label than when the champion was "
            "measured; both models are scored against the labels of now."
        )
    if is_champion:
        reasons.append(
            f"It is the champion: the same probabilities for all {num_images} test images. The champion stays as it "
            "is."
        )
        return reasons
    if (pairs["predicted_name"] == pairs["champion_predicted_name"]).all():
        reasons.append(
            f"Not promoted: no difference, both give the same answer for all {num_images} test images."
        )
        return reasons
    p_value = "p < 0.001" if result.p_value < 0.001 else f"p {result.p_value:.3f}"
    numbers = (
        f"{_percent(result.candidate_accuracy)} against {_percent(result.champion_accuracy)} on the same "
        f"{num_images} test images, a difference of {_points(result.difference)} points "
        f"({100 * confidence:g} % interval {_points(result.low)} to {_points(result.high)}; only the "
        f"candidate gets {result.num_candidate_only_right} images right, only the champion "
        f"{result.num_champion_only_right}; {p_value})"
    )
    if is_promoted:
        reasons.append(f"Promoted: it beats the champion, {numbers}.")
    elif result.difference <= 0:
        reasons.append(f"Not promoted: it is not better than the champion, {numbers}.")
    elif require == "better":
        reasons.append(f"Not promoted: it may be more than {100 * TOLERATED_LOSS:g} points worse, {numbers}.")
    else:
        reasons.append(f"Not promoted: the difference may be chance, {numbers}.")
    return reasons


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")
