"""What a model card says otherwise where a model tells several targets: its table of results, and its limits.

Knows metrics as plain data: no registry's client, no page as a whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from regraft.registry.card_text import some_names, table, with_interval
from regraft.registry.recorded_answers import names_text, target_text
from regraft.training.target_answers import HEADLINES, headline_metric

_TITLES = {
    "accuracy": "accuracy",
    "mean_absolute_error": "mean absolute error (lower is better)",
    "mean_distance": "mean distance, of the image's side (lower is better)",
}
_FRACTIONS = ("accuracy", "mean_distance")
_BASELINES = {"constant": "One answer for all", "group": "Of the group", "metadata": "Of the files' metadata"}


def table_of_several(metrics: Mapping[str, Any], models: Mapping[str, str]) -> str:
    """The one metric of each target that people know, and the joint loss; beside what needs no pixels.

    Args:
        metrics: As `measure_several` gives them.
        models: Headings by model, in the order wanted.
    """
    lines = []
    for target in metrics["targets"]:
        metric, name = HEADLINES[target["kind"]], headline_metric(target)
        estimates = [metrics["test"][model][name] for model in models]
        estimates += [metrics["baselines"][baseline][name] for baseline in _BASELINES]
        texts = [with_interval(estimate, metric in _FRACTIONS) for estimate in estimates]
        lines.append([f"{target['name']}: {_TITLES[metric]}", *texts])
    joint = [with_interval(metrics["test"][model]["joint_loss"], is_fraction=False) for model in models]
    lines.append(["Joint loss in nats (lower is better)", *joint, *["–"] * len(_BASELINES)])
    return table(["Test", *models.values(), *_BASELINES.values()], lines, are_numbers=True)


def limits_of_several(metrics: Mapping[str, Any], model: str, *, few_images: int) -> Iterator[str]:
    """What the numbers do not speak for.

    Args:
        metrics: As `measure_several` gives them.
        model: Which is registered.
        few_images: Of a class on test: under this little is known of it.
    """
    targets = metrics["targets"]
    told = names_text([_cut(target) for target in targets])
    yield f"Every image gets an answer to all of this: {told}; also one that shows none of it."
    for target in targets:
        if target["kind"] != "classes":
            continue
        name = target["name"]
        rows = metrics["per_class"][name][model]
        few = [f"{row['label_name']} ({row['support']})" for row in rows if row["support"] < few_images]
        if few:
            yield f"Few test images, so little is known of {name}: {some_names(few)}."
        gap = metrics["test"][model][f"{name}.expected_calibration_error"]["value"]
        yield f"Its confidence in {name} is off by {100 * gap:.1f} percentage points on average."
    if alone := [target["name"] for target in targets if target["kind"] != "classes"]:
        yield f"It does not say how sure it is of {names_text(alone)}."
    if any(target["kind"] == "points" for target in targets):
        yield "Points are told as fractions of the image's width and height, from its upper left corner."


def task_of_several(targets: Sequence[Mapping[str, Any]]) -> str:
    """What a model tells, in a sentence."""
    return f"Tells {names_text([_cut(target) for target in targets])} in an image."


def _cut(target: Mapping[str, Any]) -> str:
    if target["kind"] != "classes":
        return target_text(target)
    return f"{target['name']} ({some_names(target['label_names'])})"
