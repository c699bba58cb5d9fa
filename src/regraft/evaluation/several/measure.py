"""All numbers of an evaluation of several targets in one JSON-serialisable dict, shaped as that of one label.

Knows predictions and manifest as tables: no figure, no file, no clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.estimates import Estimate, Measured
from regraft.evaluation.intervals import Bootstrap, bootstrap_measured
from regraft.evaluation.metrics import confusion_matrix, per_class_table, predicted_labels
from regraft.evaluation.predictions import MODELS, SPLITS, PredictionsError, find_unanswered
from regraft.evaluation.several.answers import SeveralScores, take_apart
from regraft.evaluation.several.baselines import BASELINES, baseline_answers
from regraft.evaluation.several.notes import write_notes
from regraft.evaluation.several.scores import loss_units, measure_target, measure_targets
from regraft.evaluation.split_facts import (
    Groups,
    count_classes,
    count_images,
    describe_resampling,
    groups_to_resample,
)
from regraft.images.target_columns import manifest_columns
from regraft.training.target_answers import Floats, Target, headline_metric, said_columns, true_columns

_ROUNDING = 1e-9  # of numbers that have been text


def measure_several(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    targets: Sequence[Target],
    label_names: Sequence[str],
    *,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Measure probe and fine-tuned model on `val` and `test`, target by target and all together.

    Args:
        predictions: A row an image and model, splits `val` and `test`, with the columns of `answers_table`.
        manifest: A row an image: id, path, split, group, the columns of the targets, and the `label` that images were
            split by.
        targets: What was learnt, as `describe_targets` describes it.
        label_names: Names of the labels that images were split by.
        bootstrap: How intervals are made; of whole groups where `measure` takes these too.

    Returns:
        JSON-serialisable, the same for the same input. As `measure` gives it, with metrics called `<target>.<metric>`
        (see `measure_target`) and `joint_loss`, the mean over images of the sum over targets of what each costs in
        nats. Beside it: `targets`, as given; `loss_units`, the mean squared error of the probe on val, by target that
        is no class: what costs half a nat, on either split and of either model; `baselines` on test, by `constant`,
        `group` and `metadata`, the headline metric of each target; `per_class` and `confusion_matrix` by target of
        classes, then by model.

    Raises:
        PredictionsError: If predictions and manifest do not fit, with all faults.
        ValueError: If no image is in `train`.
    """
    manifest = manifest.sort_values("id", kind="stable")
    _check(predictions, manifest, targets)
    scores = {split: take_apart(predictions, split, targets) for split in SPLITS}
    groups = {split: groups_to_resample(scores[split].groups, manifest, split) for split in SPLITS}
    units = loss_units(scores["val"].true, scores["val"].said["probe"], targets)
    metrics: dict[str, Any] = {"targets": [dict(target) for target in targets]}
    for split in ("test", "val"):
        metrics[split] = _measure_split(scores[split], targets, units, groups[split], bootstrap)
    metrics["loss_units"] = units
    metrics["baselines"] = _measure_baselines(scores["test"], manifest, targets, groups["test"], bootstrap)
    metrics["label_noise"] = None
    metrics["per_class"], metrics["confusion_matrix"] = _class_by_class(scores["test"], targets)
    metrics["label_names"] = list(label_names)
    metrics["num_images"] = count_images(manifest)
    metrics["class_counts"] = count_classes(manifest, label_names)
    metrics["resampling"] = describe_resampling(bootstrap, metrics["num_images"], groups)
    metrics["notes"] = write_notes(metrics)
    return metrics


def _measure_split(
    scores: SeveralScores,
    targets: Sequence[Target],
    units: Mapping[str, float],
    groups: Groups | None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Both models and their difference."""
    measured = {model: measure_targets(scores.true, scores.said[model], targets, units) for model in MODELS}
    estimates, difference = bootstrap_measured(measured, len(scores.ids), bootstrap=bootstrap, groups=groups)
    return {name: _plain(of_metric) for name, of_metric in {**estimates, "difference": difference}.items()}


def _measure_baselines(
    scores: SeveralScores,
    manifest: pd.DataFrame,
    targets: Sequence[Target],
    groups: Groups | None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """The headline metrics of the answers that need no pixels, on the resamples the models are measured on."""
    answers = baseline_answers(manifest, targets, split="test")
    measured = {
        baseline: {headline_metric(target): _headline(target, scores, said) for target in targets}
        for baseline, said in answers.items()
    }
    estimates, _ = bootstrap_measured(measured, len(scores.ids), bootstrap=bootstrap, groups=groups)
    missing = Estimate(None, None, None, "the images have no groups")
    nothing = {headline_metric(target): missing for target in targets}
    return {baseline: _plain(estimates.get(baseline, nothing)) for baseline in BASELINES}


def _headline(target: Target, scores: SeveralScores, said: Mapping[str, Floats]) -> Measured:
    name, metric = target["name"], headline_metric(target)
    return measure_target(target, scores.true[name], said[name])[metric.rpartition(".")[2]]


def _class_by_class(
    scores: SeveralScores, targets: Sequence[Target]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """By target of classes and model: a row a class, and the confusion matrix."""
    tables: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    for target in (target for target in targets if target["kind"] == "classes"):
        name, true = target["name"], scores.true[target["name"]]
        said = {model: scores.said[model][name] for model in MODELS}
        tables[name] = {model: per_class_table(said[model], true, target["label_names"]) for model in MODELS}
        matrices[name] = {model: confusion_matrix(said[model], true).tolist() for model in MODELS}
    return tables, matrices


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {metric: estimate.as_dict() for metric, estimate in estimates.items()}


def _check(predictions: pd.DataFrame, manifest: pd.DataFrame, targets: Sequence[Target]) -> None:
    """Each model has answered each image once, with numbers, and what is called true is."""
    columns = [name for target in targets for name in (*true_columns(target), *said_columns(target))]
    faults = find_unanswered(predictions, manifest, columns)
    images = manifest.set_index("id")
    known = predictions[predictions["id"].isin(images.index)]
    for target in targets:
        name = target["name"]
        expected = images.loc[known["id"], manifest_columns(target)].to_numpy(np.float64)
        given = known[true_columns(target)].to_numpy(np.float64)
        is_same = np.isclose(given, expected, rtol=_ROUNDING, atol=_ROUNDING).all(axis=1)
        if not is_same.all():
            faults.append(f"{int((~is_same).sum())} rows have another {name} than in the manifest")
        said = predictions[said_columns(target)].to_numpy(np.float64)
        if num_other := int((~np.isfinite(said)).any(axis=1).sum()):
            faults.append(f"{num_other} rows say no number of {name}")
        if target["kind"] == "classes" and f"{name}.predicted" in predictions:
            num_other = int((predicted_labels(said) != predictions[f"{name}.predicted"].to_numpy()).sum())
            if num_other:
                faults.append(f"{num_other} rows predict another {name} than their most probable one")
    if faults:
        raise PredictionsError("; ".join(faults))
