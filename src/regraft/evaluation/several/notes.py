"""What a reader of the numbers of several targets should beware of, in sentences.

Knows metrics as `measure_several` has them; no table, no page.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from regraft.evaluation.estimate_texts import number_text
from regraft.evaluation.predictions import MODEL_TITLES, MODELS
from regraft.evaluation.several.scores import facts_of
from regraft.evaluation.split_facts import note_empty_classes, note_few_groups, note_no_mistake
from regraft.training.target_answers import Target, headline_metric

BASELINE_TITLES: Final = {
    "classes": {
        "constant": "the most frequent class",
        "group": "the majority of the image's group",
        "metadata": "a model of the files' metadata",
    },
    "number": {
        "constant": "the median",
        "group": "the median of the image's group",
        "metadata": "a model of the files' metadata",
    },
    "points": {
        "constant": "the mean shape",
        "group": "the mean shape of the image's group",
        "metadata": "a model of the files' metadata",
    },
}
METRIC_WORDS: Final = {
    "classes": "accuracy",
    "number": "mean absolute error",
    "points": "mean distance",
}
_WITH_ARTICLE: Final = {
    kind: f"{'an' if words[0] == 'a' else 'a'} {words}" for kind, words in METRIC_WORDS.items()
}

_METADATA_SHARE = 0.7  # of the network's gain over one answer for all
_MIN_METADATA_GAIN = 0.05  # in accuracy, or of the error of one answer for all


def write_notes(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on too few groups, perfect scores, baselines that come near or are not beaten, and empty classes."""
    notes = note_few_groups(metrics["resampling"])
    for target in metrics["targets"]:
        notes += [f"{target['name']}: {note}" for note in _of_target(target, metrics)]
    return notes


def _of_target(target: Target, metrics: Mapping[str, Any]) -> Iterator[str]:
    metric = headline_metric(target)
    if target["kind"] == "classes":
        yield from (
            note_no_mistake(MODEL_TITLES[model], metrics["num_images"]["test"])
            for model in MODELS
            if metrics["test"][model][metric]["value"] == 1
        )
    yield from _on_baselines(target, metrics)
    if target["kind"] == "classes":
        rows = metrics["per_class"][target["name"]][MODELS[0]]
        yield from note_empty_classes({row["label_name"]: row["support"] for row in rows})


def _on_baselines(target: Target, metrics: Mapping[str, Any]) -> Iterator[str]:
    """Sentences if files alone give most of what the better model gains, and if fine-tuning gains nothing."""
    metric, titles = headline_metric(target), BASELINE_TITLES[target["kind"]]
    sign = 1 if facts_of(metric).higher_is_better else -1
    constant, metadata = (metrics["baselines"][name][metric]["value"] for name in ("constant", "metadata"))
    values = {model: metrics["test"][model][metric]["value"] for model in MODELS}
    best = max(values.values(), key=lambda value: sign * value)
    gain, least = sign * (metadata - constant), _MIN_METADATA_GAIN * (1 if sign == 1 else constant)
    words = _WITH_ARTICLE[target["kind"]]
    if gain >= max(least, _METADATA_SHARE * sign * (best - constant)) and gain > 0:
        yield (
            f"it differs by source: size, format and place in the listing alone give {words} of "
            f"{number_text(metadata, metric)} on test, the better network {number_text(best, metric)}, "
            f"{titles['constant']} {number_text(constant, metric)}. The network may have learnt where an image comes "
            "from."
        )
    if sign * (values["fine_tuned"] - constant) <= 0:
        yield (
            f"the fine-tuned model is no better than {titles['constant']} of train, with {words} of "
            f"{number_text(values['fine_tuned'], metric)} on test against {number_text(constant, metric)}: nothing "
            "shows that it tells anything of it."
        )
