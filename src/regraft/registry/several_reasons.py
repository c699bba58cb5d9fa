"""Why a model of several targets was promoted or not: sentences in plain words, with their numbers.

Knows the decision's parts; it decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from regraft.registry.recorded_answers import names_text, target_text
from regraft.training.target_answers import Target, headline_metric

_WORDS = {"classes": "accuracy", "number": "mean error", "points": "mean distance"}
_METADATA = "the model of the files' metadata"
_BASELINES = {
    "classes": {
        "constant": "the most frequent class",
        "group": "the majority of the group",
        "metadata": _METADATA,
    },
    "number": {"constant": "the median", "group": "the median of the group", "metadata": _METADATA},
    "points": {"constant": "the mean shape", "group": "the mean shape of the group", "metadata": _METADATA},
}


def warn_of_baselines(metrics: Mapping[str, Any], model: str) -> list[str]:
    """A sentence for each target of which an answer without pixels is as good as the model's on test."""
    told = []
    for target in metrics["targets"]:
        kind, name = target["kind"], headline_metric(target)
        value = metrics["test"][model][name]["value"]
        for baseline, title in _BASELINES[kind].items():
            other = metrics["baselines"][baseline][name]["value"]
            if other is not None and (other >= value if kind == "classes" else other <= value):
                told.append(
                    f"Beware: without looking at a pixel, {title} has for {target['name']} on test the {_WORDS[kind]} "
                    f"{_number(kind, other)}; the model {_number(kind, value)}."
                )
    return told


def why_incomparable(ours: Sequence[Target], theirs: Sequence[Target]) -> list[str]:
    """A sentence where the targets of candidate and champion are not the same; empty if they are."""
    if not theirs:
        told = names_text([target_text(target) for target in ours])
        return [
            f"Not promoted: the champion tells one label of an image, the candidate {told}: they cannot be compared. "
            "Set the alias by hand, or register the candidate under another name."
        ]
    of_candidate, of_champion = (
        {_key(target): target_text(target) for target in each} for each in (ours, theirs)
    )
    parts = [
        f"only the {who} tells {names_text([text for key, text in these.items() if key not in those])}"
        for who, these, those in (
            ("candidate", of_candidate, of_champion),
            ("champion", of_champion, of_candidate),
        )
        if these.keys() - those.keys()
    ]
    if not parts:
        return []
    return [
        f"Not promoted: candidate and champion have different targets ({'; '.join(parts)}). Set the alias by hand, or "
        "register under another name (tracking.registered_model_name)."
    ]


def why_compared(
    comparison: Mapping[str, Any],
    targets: Sequence[Target],
    *,
    num_changed: int,
    is_promoted: bool,
    confidence: float,
) -> list[str]:
    """The comparison in sentences, with its numbers.

    Args:
        comparison: As `decide_several` gives it.
        targets: What is told.
        num_changed: Test images of which something else is true than when the champion was measured.
        is_promoted: The decision.
        confidence: Of the intervals.
    """
    num_images = comparison["num_images"]
    reasons = []
    if num_changed:
        reasons.append(
            f"Of {num_changed} of {num_images} test images something else is true than when the champion was "
            "measured; both models are scored against what is true now."
        )
    if comparison["is_champion"]:
        reasons.append(
            f"It is the champion: the same answers for all {num_images} test images. The champion stays as it is."
        )
        return reasons
    p_value = "p < 0.001" if comparison["p_value"] < 0.001 else f"p {comparison['p_value']:.3f}"
    numbers = (
        f"an image costs {comparison['candidate_loss']:.4f} nats against {comparison['champion_loss']:.4f}, all "
        f"targets together, on the same {num_images} test images ({_interval(comparison, confidence)}; {p_value})"
    )
    reasons.append(f"{_verdict(comparison, is_promoted, confidence)}, {numbers}.")
    reasons.append(f"Target by target, {'; '.join(_target(target, comparison) for target in targets)}.")
    return reasons


def _verdict(comparison: Mapping[str, Any], is_promoted: bool, confidence: float) -> str:
    if is_promoted:
        return "Promoted: it beats the champion"
    if comparison["difference"] <= 0:
        return "Not promoted: it is not better than the champion"
    if comparison["surely_worse"]:
        told = [
            f"{name} is surely worse ({_interval(comparison['targets'][name], confidence)})"
            for name in comparison["surely_worse"]
        ]
        return f"Not promoted: better in all, but {names_text(told)}"
    return "Not promoted: the difference may be chance"


def _target(target: Target, comparison: Mapping[str, Any]) -> str:
    kind, of_target = target["kind"], comparison["targets"][target["name"]]
    candidate, champion = (_number(kind, of_target[who]) for who in ("candidate", "champion"))
    return f"{target['name']}: {_WORDS[kind]} {candidate} against {champion}"


def _number(kind: str, value: float) -> str:
    """`93.1 %`, `4.13`, or `2.10 % of the side`."""
    if kind == "classes":
        return f"{100 * value:.1f} %"
    return f"{value:.4g}" if kind == "number" else f"{100 * value:.2f} % of the side"


def _interval(change: Mapping[str, Any], confidence: float) -> str:
    low, high = (f"{change[end]:+.4f}".replace("-", "−") for end in ("low", "high"))
    return f"{100 * confidence:g} % interval of the gain {low} to {high}"


def _key(target: Target) -> tuple[str, str, object]:
    return (
        target["name"],
        target["kind"],
        (frozenset(target.get("label_names", ())), target.get("num_points")),
    )
