"""All numbers of an evaluation in one JSON-serialisable dict: what report, tracker and gate read.

Knows predictions and manifest as tables: no figure, no file, no clock.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from regraft.evaluation.baselines import group_majority_predictions, majority_label, majority_predictions
from regraft.evaluation.intervals import Bootstrap, bootstrap_intervals, bootstrap_models
from regraft.evaluation.label_noise import measure_label_noise
from regraft.evaluation.metadata_model import metadata_predictions
from regraft.evaluation.metrics import IntArray, confusion_matrix, per_class_table
from regraft.evaluation.predictions import (
    MODEL_TITLES,
    MODELS,
    SPLITS,
    SplitScores,
    check_predictions,
    scores_of_split,
)
from regraft.evaluation.split_facts import (
    count_classes,
    count_images,
    describe_resampling,
    groups_to_resample,
    note_empty_classes,
    note_few_groups,
    note_no_mistake,
)
from regraft.images.soft_labels import soft_labels

_METADATA_SHARE = 0.7  # of the network's gain over the most frequent class
_MIN_METADATA_GAIN = 0.05


def measure(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    label_names: Sequence[str],
    *,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Measure probe and fine-tuned model on `val` and `test`, with intervals, beside what needs no pixels.

    Where a split's groups occur in no other split, whole groups are resampled: the interval then speaks of
    images of new groups. Elsewhere images are: it speaks of more images of the same groups.

    Args:
        predictions: A row an image and model, splits `val` and `test`; see `check_predictions`.
        manifest: A row an image: id, split, label (int64), group (text or null).
        label_names: K names, in the order of the classes.
        num_resamples: Bootstrap resamples.
        confidence: Of the intervals, for instance 0.95.
        seed: Of the bootstrap.

    Returns:
        JSON-serialisable, the same for the same input: `test` and `val` (each `probe`, `fine_tuned`,
        `difference` (fine-tuned minus probe): by metric `value`, `low`, `high`, and `reason` where something
        is missing); `baselines` on test (`majority_class`, `group_majority`,
        `metadata`); `label_noise`, see `measure_label_noise`, None where labels are not known to be uncertain;
        `per_class` and `confusion_matrix` on test by model; `label_names`; `num_images` by split; `class_counts`
        by split and label name; `resampling` (`num_resamples`, `confidence`, `seed`, and by split `unit` and
        `num_units`);
        `notes`, sentences on what to beware of.

    Raises:
        PredictionsError: If predictions and manifest do not fit, with all faults.
        ValueError: If the bootstrap's settings are out of range.
    """
    bootstrap = Bootstrap(num_resamples, confidence, seed)
    manifest = manifest.sort_values("id", kind="stable")
    check_predictions(predictions, manifest, label_names)
    scores = {split: scores_of_split(predictions, split, label_names) for split in SPLITS}
    groups = {split: groups_to_resample(scores[split].groups, manifest, split) for split in SPLITS}
    metrics: dict[str, Any] = {
        split: _measure_split(scores[split], groups[split], bootstrap) for split in ("test", "val")
    }
    test = scores["test"].labels, scores["test"].probabilities
    metrics["baselines"] = _measure_baselines(manifest, label_names, groups["test"], bootstrap)
    metrics["label_noise"] = _measure_label_noise(
        scores["test"], manifest, label_names, groups["test"], bootstrap
    )
    metrics["per_class"] = {m: per_class_table(test[1][m], test[0], label_names) for m in MODELS}
    metrics["confusion_matrix"] = {m: confusion_matrix(test[1][m], test[0]).tolist() for m in MODELS}
    metrics["label_names"] = list(label_names)
    metrics["num_images"] = count_images(manifest)
    metrics["class_counts"] = count_classes(manifest, label_names)
    metrics["resampling"] = describe_resampling(bootstrap, metrics["num_images"], groups)
    metrics["notes"] = _notes(metrics)
    return metrics


def plain_scores(metrics: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The scores alone, without intervals: what a table of many runs has room for.

    Args:
        metrics: What `measure` returned.

    Returns:
        By `{model}_{split}`, both models on `val`, then on `test`: each metric's value; None where it has none.
    """
    return {
        f"{model}_{split}": {metric: found["value"] for metric, found in metrics[split][model].items()}
        for split in SPLITS
        for model in MODELS
    }


def _measure_split(
    scores: SplitScores, groups: tuple[str | None, ...] | None, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Both models and their difference."""
    estimates, difference = bootstrap_models(
        scores.probabilities, scores.labels, bootstrap=bootstrap, groups=groups
    )
    return {
        name: {metric: estimate.as_dict() for metric, estimate in of_metric.items()}
        for name, of_metric in {**estimates, "difference": difference}.items()
    }


def _measure_baselines(
    manifest: pd.DataFrame,
    label_names: Sequence[str],
    groups: tuple[str | None, ...] | None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Accuracy on test of the answers that need no pixels, on the resamples the models are measured on."""
    labels = manifest.loc[manifest["split"] == "test", "label"].to_numpy(np.int64)

    def accuracy(predicted: IntArray) -> dict[str, float | str | None]:
        certain = np.eye(len(label_names))[predicted]
        estimates = bootstrap_intervals(
            certain, labels, bootstrap=bootstrap, groups=groups, metrics=("accuracy",)
        )
        return estimates["accuracy"].as_dict()

    metadata = {"accuracy": accuracy(metadata_predictions(manifest, split="test"))}
    majority = {
        "accuracy": accuracy(majority_predictions(manifest, split="test")),
        "label_name": label_names[majority_label(manifest)],
    }
    if manifest["group"].isna().all():
        missing = {"value": None, "low": None, "high": None, "reason": "the images have no groups"}
        return {"majority_class": majority, "group_majority": {"accuracy": missing}, "metadata": metadata}
    of_group = group_majority_predictions(manifest, split="test")
    return {
        "majority_class": majority,
        "group_majority": {
            "accuracy": accuracy(of_group.predicted),
            "num_unseen_groups": of_group.num_unseen_groups,
            "num_unseen_images": of_group.num_unseen_images,
        },
        "metadata": metadata,
    }


def _measure_label_noise(
    scores: SplitScores,
    manifest: pd.DataFrame,
    label_names: Sequence[str],
    groups: tuple[str | None, ...] | None,
    bootstrap: Bootstrap,
) -> dict[str, Any] | None:
    """What the uncertainty of test's labels does to the scores, where the source tells it."""
    soft = soft_labels(manifest.set_index("id").loc[scores.ids], label_names)
    if soft is None:
        return None
    return measure_label_noise(soft, scores.labels, scores.probabilities, groups, bootstrap)


def _note_on_metadata(metrics: dict[str, Any]) -> str | None:
    """A warning if files alone give most of what the better network gains over the most frequent class."""
    metadata = metrics["baselines"]["metadata"]["accuracy"]
    majority = metrics["baselines"]["majority_class"]["accuracy"]["value"]
    best = max(metrics["test"][model]["accuracy"]["value"] for model in MODELS)
    gain = metadata["value"] - majority
    if gain < _MIN_METADATA_GAIN or gain < _METADATA_SHARE * (best - majority):
        return None
    return (
        f"Your classes differ by source: size, format and place in the listing alone give "
        f"{100 * metadata['value']:.1f} % accuracy on test, the better network {100 * best:.1f} %, the most "
        f"frequent class {100 * majority:.1f} %. The network may have learnt where an image comes from."
    )


def _notes(metrics: dict[str, Any]) -> list[str]:
    """What a reader of the test numbers should beware of."""
    notes = note_few_groups(metrics["resampling"])
    notes += [
        note_no_mistake(MODEL_TITLES[model], metrics["num_images"]["test"])
        for model in MODELS
        if metrics["test"][model]["accuracy"]["value"] == 1
    ]
    if note := _note_on_metadata(metrics):
        notes.append(note)
    return notes + note_empty_classes(metrics["class_counts"]["test"])
