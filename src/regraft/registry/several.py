"""Which of probe and fine-tuned model is registered, and whether it replaces the champion, where they tell several
targets.

Knows metrics and predictions as plain data: no registry's client, no version, no run, no clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regraft.registry.paired import compare_changes
from regraft.registry.pairing import (
    MODELS,
    REQUIREMENTS,
    ComparisonError,
    Requirement,
    check_choices,
    check_tables,
    image_obstacles,
    make_decision,
    num_in_common,
    rows_of_test,
)
from regraft.registry.reasons import why_selected
from regraft.registry.recorded_answers import recorded_targets
from regraft.registry.several_reasons import warn_of_baselines, why_compared, why_incomparable
from regraft.training.target_answers import (
    HEADLINES,
    Target,
    headline_scores,
    said_columns,
    said_values,
    true_columns,
    true_values,
)
from regraft.training.target_losses import error_unit, image_losses

_COLUMNS = ("sha256", "split", "group", "model")
_TORN = 1e-3  # relative: the same file in batches of another size gets answers that are rounded otherwise
_SAME = 1e-12  # relative: the last digit of a file's decimals


def decide_several(
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    champion_predictions: pd.DataFrame | None,
    *,
    selection_metric: str,
    num_resamples: int,
    confidence: float,
    seed: int,
    require: Requirement = "significantly_better",
) -> dict[str, Any]:
    """Choose the model to register, and the aliases its version gets: `decide_promotion` for several targets.

    The model with the lower joint loss on val is registered, of equals the probe, whatever `selection_metric` says:
    several targets have no one accuracy.

    Against the champion both are scored image by image, paired by the file's sha256, against what is true now. An
    image costs the log-loss of each class target, and half the squared error of each number and of points in units of
    the champion's mean squared error on these images, which makes one nat of any target worth as much. The sum must be
    better as `decide_promotion` asks it of accuracy (`better` asks for a lower mean alone), and no single target may be
    surely worse: its own paired interval must not lie wholly on the side of the champion.

    Args:
        predictions: The candidate's, of probe and fine-tuned model: sha256, split, group, model, and the columns of all
            targets.
        metrics: What was measured on them: `targets`, `val`, `test` by model and metric, `baselines`, `resampling`.
        champion_predictions: See `decide_promotion`, and there for the others. One that tells one label stays.

    Returns:
        As `decide_promotion`. `comparison` has `candidate_loss` and `champion_loss` in nats, `difference` (what the
        candidate saves) with `low`, `high` and `p_value`, `surely_worse` (names of targets), and by name in `targets`
        the same numbers with the `metric` that people know of `candidate` and `champion`.

    Raises:
        ComparisonError: If a setting is unknown or a table lacks columns or rows, with all faults.
    """
    targets = metrics["targets"]
    theirs = recorded_targets(champion_predictions) if champion_predictions is not None else []
    _check(predictions, champion_predictions, targets, require)
    selection = _select(metrics)
    model = selection["chosen"]
    reasons = [why_selected(selection), *warn_of_baselines(metrics, model)]
    if champion_predictions is None:
        reasons.append("There is no champion yet, so it becomes the first.")
        return make_decision(selection, None, reasons, is_promoted=True)
    candidate = rows_of_test(predictions[predictions["model"] == model])
    champion = rows_of_test(champion_predictions)
    comparison: dict[str, Any] = {
        "num_images": len(candidate),
        "num_images_in_common": num_in_common(candidate, champion),
    }
    obstacles = why_incomparable(targets, theirs)
    num_torn = 0 if obstacles else _num_torn(champion, targets)
    obstacles += image_obstacles(candidate, champion, num_torn=num_torn)
    if obstacles:
        return make_decision(selection, comparison, reasons + obstacles, is_promoted=False)
    record = champion.drop_duplicates("sha256").set_index("sha256").loc[candidate["sha256"]].reset_index()
    is_grouped = metrics["resampling"]["test"]["unit"] == "group"
    comparison |= {"unit": "group" if is_grouped else "image", "require": require}
    comparison |= _compare(
        candidate,
        record,
        targets,
        groups=candidate["group"].tolist() if is_grouped else None,
        num_resamples=num_resamples,
        confidence=confidence,
        seed=seed,
    )
    is_promoted = _beats(comparison, require, confidence)
    num_changed = _num_changed(candidate, record, targets)
    reasons += why_compared(
        comparison, targets, num_changed=num_changed, is_promoted=is_promoted, confidence=confidence
    )
    return make_decision(selection, comparison, reasons, is_promoted=is_promoted)


def _check(
    predictions: pd.DataFrame, champion: pd.DataFrame | None, targets: Sequence[Target], require: str
) -> None:
    """Raise ComparisonError with all that is wrong with tables and settings."""
    needed = [column for target in targets for column in (*true_columns(target), *said_columns(target))]
    faults = check_choices({"require": (require, REQUIREMENTS)})
    faults += check_tables(predictions, champion, columns=[*_COLUMNS, *needed], champion_columns=_COLUMNS)
    if faults:
        raise ComparisonError(" ".join(faults))


def _select(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The better model on val, of equals the probe."""
    values = {model: metrics["val"][model]["joint_loss"]["value"] for model in MODELS}
    chosen = "fine_tuned" if values["fine_tuned"] < values["probe"] else "probe"
    return {"chosen": chosen, "metric": "joint_loss", "split": "val", "higher_is_better": False, **values}


def _compare(
    candidate: pd.DataFrame, champion: pd.DataFrame, targets: Sequence[Target], **resampling: Any
) -> dict[str, Any]:
    """Both on the same images, row by row: all together and target by target."""
    true = {target["name"]: true_values(candidate, target) for target in targets}
    ours, theirs = (
        {target["name"]: said_values(rows, target) for target in targets} for rows in (candidate, champion)
    )
    units = {
        target["name"]: error_unit(true[target["name"]], theirs[target["name"]])
        for target in targets
        if target["kind"] != "classes"
    }
    our_losses, their_losses = (image_losses(true, said, targets, units) for said in (ours, theirs))
    joint = _change(sum(our_losses.values()), sum(their_losses.values()), **resampling)
    of_target: dict[str, dict[str, Any]] = {
        name: {
            **_change(our_losses[name], their_losses[name], **resampling),
            "metric": HEADLINES[target["kind"]],
            "candidate": float(headline_scores(true[name], ours[name], target["kind"]).mean()),
            "champion": float(headline_scores(true[name], theirs[name], target["kind"]).mean()),
        }
        for name, target in ((target["name"], target) for target in targets)
    }
    return {
        **joint,
        "is_champion": all(np.allclose(ours[name], theirs[name], rtol=_SAME, atol=_SAME) for name in ours),
        "surely_worse": [name for name, change in of_target.items() if change["high"] < 0],
        "targets": of_target,
    }


def _change(ours: Any, theirs: Any, **resampling: Any) -> dict[str, float]:
    found = compare_changes(theirs - ours, **resampling)
    return {
        "candidate_loss": float(ours.mean()),
        "champion_loss": float(theirs.mean()),
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "p_value": found.p_value,
    }


def _beats(comparison: Mapping[str, Any], require: str, confidence: float) -> bool:
    """Whether the difference meets the requirement, and no target pays for it."""
    if comparison["is_champion"] or comparison["surely_worse"] or comparison["difference"] <= 0:
        return False
    if require == "better":
        return True
    return bool(comparison["low"] > 0 and comparison["p_value"] < 1 - confidence)


def _num_changed(candidate: pd.DataFrame, champion: pd.DataFrame, targets: Sequence[Target]) -> int:
    """Images of which something else is true in one table than in the other."""
    is_other = np.zeros(len(candidate), dtype=bool)
    for target in targets:
        if target["kind"] == "classes":
            column = f"{target['name']}.true_name"
            is_other |= candidate[column].to_numpy() != champion[column].to_numpy()
        else:
            now, then = (true_values(rows, target).reshape(len(rows), -1) for rows in (candidate, champion))
            is_other |= ~np.isclose(now, then, rtol=_SAME, atol=_SAME).all(axis=1)
    return int(is_other.sum())


def _num_torn(champion: pd.DataFrame, targets: Sequence[Target]) -> int:
    """Files that were given more than one answer."""
    said = champion[["sha256", *(column for target in targets for column in said_columns(target))]]
    answers = said[said["sha256"].duplicated(keep=False)].groupby("sha256")
    least, most = answers.min(), answers.max()
    is_torn = (most - least > _TORN * (1 + most.abs())).any(axis=1)
    return int(is_torn.sum())
