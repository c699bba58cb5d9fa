"""Which of probe and fine-tuned model is registered, and whether it replaces the champion, where they tell one label.

Knows metrics and predictions as plain data: no registry's client, no version, no run, no clock.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from regraft.registry.paired import PairedComparison, compare_paired
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
from regraft.registry.reasons import TOLERATED_LOSS, warnings, why_compared, why_selected
from regraft.registry.recorded_answers import names_text, recorded_targets, target_text

_HIGHER_IS_BETTER = {"log_loss": False, "accuracy": True}
_COLUMNS = ("sha256", "split", "label_name", "group", "model", "predicted_name")


def decide_promotion(
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
    """Choose the model to register, and the aliases its version gets.

    The model with the better `selection_metric` on val is registered as challenger; of equals the probe,
    which is simpler. It becomes champion if there is none. Else it must beat the champion in accuracy on its
    own test images, each paired by the file's sha256 with the champion's recorded prediction, both scored
    against today's label. All of them must be among the champion's recorded *test* images: what is not, the
    champion may have been trained on.

    `significantly_better` (nothing is promoted on noise) asks two things. The paired bootstrap interval of
    the difference lies above 0; and so does chance under a sign-flip test, whose p-value is below 1 −
    confidence. The second is there because the bootstrap is too sure of few differences: four images that
    only the candidate gets right, none the other way, give an interval above 0, while chance alone does as
    well in one of eight such tests (McNemar's exact test). Where metrics were measured by resampling whole
    groups, both are done on whole groups. `better` asks for a higher accuracy, and an interval that ends no
    lower than one percentage point of loss: it promotes on noise about every second time that two models are
    equally good, so it is for when that is harmless.

    Args:
        predictions: The candidate's, of probe and fine-tuned model: sha256, split, label_name, group, model,
            predicted_name, p_<label name>.
        metrics: What was measured on them: `val`, `test` by model and metric, `baselines`, `resampling`.
        champion_predictions: The same columns, of the champion's one model (`registered_predictions` made it
            when it was registered); None if there is no champion. One that tells several targets stays.
        selection_metric: `log_loss` or `accuracy`.
        num_resamples: Of bootstrap and sign-flip test.
        confidence: Of the interval, for instance 0.95.
        seed: Of both.
        require: See above.

    Returns:
        JSON-serialisable, the same for the same input: `model` to register; `selection` (`metric`,
        `higher_is_better`, the value of each model on val); `aliases`; `is_promoted`; `comparison` with the
        champion (None if there is none to make; `is_champion` says whether it is the champion itself, which
        stays so); `reasons`, sentences.

    Raises:
        ComparisonError: If a setting is unknown or a table lacks columns or rows, with all faults.
    """
    _check(predictions, champion_predictions, selection_metric, require)
    selection = _select(metrics, selection_metric)
    model = selection["chosen"]
    reasons = [why_selected(selection), *warnings(metrics, model)]
    comparison: dict[str, Any] | None = None
    if champion_predictions is None:
        is_promoted = True
        reasons.append("There is no champion yet, so it becomes the first.")
    else:
        candidate = rows_of_test(predictions[predictions["model"] == model])
        champion = rows_of_test(champion_predictions)
        obstacles = _obstacles(predictions, champion_predictions, candidate, champion)
        comparison = {
            "num_images": len(candidate),
            "num_images_in_common": num_in_common(candidate, champion),
        }
        if obstacles:
            is_promoted = False
            reasons += obstacles
        else:
            is_grouped = metrics["resampling"]["test"]["unit"] == "group"
            pairs = _pairs(candidate, champion)
            result = compare_paired(
                pairs["is_right"].to_numpy(),
                pairs["champion_is_right"].to_numpy(),
                groups=pairs["group"].tolist() if is_grouped else None,
                num_resamples=num_resamples,
                confidence=confidence,
                seed=seed,
            )
            comparison |= {**result.as_dict(), "unit": "group" if is_grouped else "image", "require": require}
            is_promoted = _beats(result, require, confidence)
            comparison["is_champion"] = _is_the_same(candidate, champion)
            reasons += why_compared(
                pairs, result, is_promoted, require, confidence, is_champion=comparison["is_champion"]
            )
    return make_decision(selection, comparison, reasons, is_promoted=is_promoted)


def registered_predictions(predictions: pd.DataFrame, registration: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of the registered model: keep them with its version, to compare the next candidate with.

    Args:
        predictions: As in `decide_promotion` or `decide_several`.
        registration: What it gave.
    """
    rows: pd.DataFrame = predictions[predictions["model"] == registration["model"]].reset_index(drop=True)
    return rows


def _check(
    predictions: pd.DataFrame, champion: pd.DataFrame | None, selection_metric: str, require: str
) -> None:
    """Raise ComparisonError with all that is wrong with tables and settings."""
    choices = {
        "selection_metric": (selection_metric, tuple(_HIGHER_IS_BETTER)),
        "require": (require, REQUIREMENTS),
    }
    is_of_several = champion is not None and bool(recorded_targets(champion))
    of_champion = _COLUMNS[:-1] if is_of_several else _COLUMNS
    faults = check_choices(choices)
    faults += check_tables(predictions, champion, columns=_COLUMNS, champion_columns=of_champion)
    if faults:
        raise ComparisonError(" ".join(faults))


def _select(metrics: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """The better model on val, of equals the probe."""
    values = {model: metrics["val"][model][metric]["value"] for model in MODELS}
    higher_is_better = _HIGHER_IS_BETTER[metric]
    gain = values["fine_tuned"] - values["probe"]
    chosen = "fine_tuned" if (gain if higher_is_better else -gain) > 0 else "probe"
    return {
        "chosen": chosen,
        "metric": metric,
        "split": "val",
        "higher_is_better": higher_is_better,
        **values,
    }


def _obstacles(
    predictions: pd.DataFrame,
    champion_predictions: pd.DataFrame,
    candidate: pd.DataFrame,
    champion: pd.DataFrame,
) -> list[str]:
    """Why the two cannot be compared, in sentences; empty if they can."""
    if several := recorded_targets(champion_predictions):
        told = names_text([target_text(target) for target in several])
        return [
            f"Not promoted: the champion tells {told} of an image, the candidate one label: they cannot be compared. "
            "Set the alias by hand, or register the candidate under another name."
        ]
    reasons = []
    ours, theirs = _label_names(predictions), _label_names(champion_predictions)
    if ours != theirs:
        only_ours, only_theirs = sorted(ours - theirs), sorted(theirs - ours)
        parts = [
            f"only the {who} knows {', '.join(names)}"
            for who, names in (("candidate", only_ours), ("champion", only_theirs))
            if names
        ]
        reasons.append(
            f"Not promoted: candidate and champion tell different classes apart ({'; '.join(parts)})."
        )
    answers = champion.groupby("sha256")["predicted_name"].nunique()
    return reasons + image_obstacles(candidate, champion, num_torn=int((answers > 1).sum()))


def _pairs(candidate: pd.DataFrame, champion: pd.DataFrame) -> pd.DataFrame:
    """The candidate's rows with the champion's answer; a file listed twice meets the one answer twice."""
    record = champion.drop_duplicates("sha256").set_index("sha256")
    answer = candidate["sha256"].map(record["predicted_name"])
    return candidate.assign(
        champion_predicted_name=answer,
        champion_label_name=candidate["sha256"].map(record["label_name"]),
        is_right=candidate["predicted_name"] == candidate["label_name"],
        champion_is_right=answer == candidate["label_name"],
    )


def _is_the_same(candidate: pd.DataFrame, champion: pd.DataFrame) -> bool:
    """Whether both give every test image the same probabilities, but for the last digit of a file's decimals."""
    columns = [str(column) for column in candidate.columns if str(column).startswith("p_")]
    record = champion.drop_duplicates("sha256").set_index("sha256")[columns]
    theirs = record.loc[candidate["sha256"]].to_numpy(np.float64)
    return bool(np.allclose(candidate[columns].to_numpy(np.float64), theirs, rtol=0, atol=1e-12))


def _beats(result: PairedComparison, require: str, confidence: float) -> bool:
    """Whether the difference meets the requirement."""
    if require == "better":
        return result.difference > 0 and result.low > -TOLERATED_LOSS
    return result.low > 0 and result.p_value < 1 - confidence


def _label_names(table: pd.DataFrame) -> set[str]:
    """The classes that a table of predictions tells apart, from its columns of probabilities."""
    return {str(column).removeprefix("p_") for column in table.columns if str(column).startswith("p_")}
