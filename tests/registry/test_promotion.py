import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.registry.promotion import ComparisonError, decide_promotion, registered_predictions

SETTINGS: dict[str, Any] = {
    "selection_metric": "log_loss",
    "num_resamples": 2000,
    "confidence": 0.95,
    "seed": 0,
}
LABELS = np.array(["functional", "defective"], dtype=object)


def rows(is_right: np.ndarray, *, model: str, split: str = "test", start: int = 0) -> pd.DataFrame:
    """One row an image; the label alternates, a wrong answer is the other one."""
    ids = np.arange(start, start + len(is_right))
    labels = ids % 2
    predicted = np.where(is_right, labels, 1 - labels)
    return pd.DataFrame(
        {
            "id": ids,
            "sha256": [f"{split}-{i}" for i in ids],
            "split": split,
            "label_name": LABELS[labels],
            "group": [f"g{i // 10}" for i in ids],
            "model": model,
            "predicted": predicted,
            "predicted_name": LABELS[predicted],
            "p_functional": 1.0 - predicted,
            "p_defective": predicted * 1.0,
        }
    )


def right(num_right: int, num_images: int = 200) -> np.ndarray:
    return np.arange(num_images) < num_right


def candidate(fine_tuned: np.ndarray, probe: np.ndarray | None = None) -> pd.DataFrame:
    probe = fine_tuned if probe is None else probe
    val = [rows(right(40, 50), model=model, split="val") for model in ("probe", "fine_tuned")]
    return pd.concat(
        [rows(probe, model="probe"), rows(fine_tuned, model="fine_tuned"), *val], ignore_index=True
    )


def metrics(
    probe: tuple[float, float] = (0.4, 0.85),
    fine_tuned: tuple[float, float] = (0.3, 0.9),
    unit: str = "image",
) -> dict[str, Any]:
    """Log-loss and accuracy on val of both models."""
    of_model = {
        name: {"log_loss": {"value": values[0]}, "accuracy": {"value": values[1]}}
        for name, values in (("probe", probe), ("fine_tuned", fine_tuned))
    }
    return {
        "val": of_model,
        "test": of_model,
        "baselines": {
            "majority_class": {"accuracy": {"value": 0.5}},
            "group_majority": {"accuracy": {"value": None}},
            "metadata": {"accuracy": {"value": None}},
        },
        "resampling": {"test": {"unit": unit}},
    }


def champion(is_right: np.ndarray) -> pd.DataFrame:
    return rows(is_right, model="probe")


def test_the_first_model_becomes_champion() -> None:
    decision = decide_promotion(candidate(right(150)), metrics(), None, **SETTINGS)
    assert decision["aliases"] == ["challenger", "champion"]
    assert decision["is_promoted"] is True
    assert decision["comparison"] is None
    assert "no champion" in decision["reasons"][-1]


@pytest.mark.parametrize(
    ("metric", "probe", "fine_tuned", "chosen"),
    [
        ("log_loss", (0.4, 0.9), (0.3, 0.8), "fine_tuned"),
        ("accuracy", (0.4, 0.9), (0.3, 0.8), "probe"),
        ("log_loss", (0.3, 0.8), (0.4, 0.9), "probe"),
        ("accuracy", (0.3, 0.8), (0.4, 0.9), "fine_tuned"),
        ("log_loss", (0.3, 0.8), (0.3, 0.8), "probe"),
    ],
)
def test_the_better_model_on_val_is_registered_and_of_equals_the_probe(
    metric: str, probe: tuple[float, float], fine_tuned: tuple[float, float], chosen: str
) -> None:
    settings = SETTINGS | {"selection_metric": metric}
    decision = decide_promotion(candidate(right(150)), metrics(probe, fine_tuned), None, **settings)
    assert decision["model"] == chosen
    assert decision["selection"]["metric"] == metric
    assert decision["selection"]["higher_is_better"] == (metric == "accuracy")


def test_a_clear_win_on_the_same_images_is_promoted_whatever_their_order() -> None:
    record = champion(right(150)).sample(frac=1, random_state=0)
    decision = decide_promotion(candidate(right(180)), metrics(), record, **SETTINGS)
    assert decision["aliases"] == ["challenger", "champion"]
    comparison = decision["comparison"]
    assert comparison["difference"] == pytest.approx(0.15)
    assert (comparison["num_candidate_only_right"], comparison["num_champion_only_right"]) == (30, 0)
    assert comparison["low"] > 0
    assert "+15.0 points" in decision["reasons"][-1]


def test_the_registered_model_is_compared_not_the_other_one() -> None:
    predictions = candidate(fine_tuned=right(120), probe=right(190))
    decision = decide_promotion(predictions, metrics(), champion(right(150)), **SETTINGS)
    assert decision["model"] == "fine_tuned"
    assert decision["is_promoted"] is False
    chosen = decide_promotion(predictions, metrics(probe=(0.2, 0.95)), champion(right(150)), **SETTINGS)
    assert (chosen["model"], chosen["is_promoted"]) == ("probe", True)


def test_the_champion_itself_is_told_so() -> None:
    first = decide_promotion(candidate(right(150)), metrics(), None, **SETTINGS)
    record = registered_predictions(candidate(right(150)), first)
    again = decide_promotion(candidate(right(150)), metrics(), record, **SETTINGS)
    assert again["aliases"] == ["challenger"]
    assert again["comparison"]["is_champion"]
    assert again["reasons"][-1].startswith(
        "It is the champion: the same probabilities for all 200 test images."
    )


def test_the_same_answers_with_other_probabilities_are_no_difference() -> None:
    first = decide_promotion(candidate(right(150)), metrics(), None, **SETTINGS)
    record = registered_predictions(candidate(right(150)), first)
    columns = [column for column in record if column.startswith("p_")]
    less_sure = record.assign(**{column: 0.9 * record[column] + 0.05 for column in columns})
    again = decide_promotion(candidate(right(150)), metrics(), less_sure, **SETTINGS)
    assert again["aliases"] == ["challenger"]
    assert not again["comparison"]["is_champion"]
    assert "no difference" in again["reasons"][-1]
    assert "200 test images" in again["reasons"][-1]


def test_a_worse_model_is_not_promoted() -> None:
    decision = decide_promotion(candidate(right(140)), metrics(), champion(right(150)), **SETTINGS)
    assert decision["is_promoted"] is False
    assert "not better" in decision["reasons"][-1]


def test_four_images_more_are_noise_though_the_bootstrap_interval_lies_above_0() -> None:
    decision = decide_promotion(candidate(right(154)), metrics(), champion(right(150)), **SETTINGS)
    assert decision["comparison"]["low"] > 0
    assert decision["comparison"]["p_value"] == pytest.approx(0.125, abs=0.03)
    assert decision["is_promoted"] is False
    assert "may be chance" in decision["reasons"][-1]
    lenient = decide_promotion(
        candidate(right(154)), metrics(), champion(right(150)), **SETTINGS, require="better"
    )
    assert lenient["is_promoted"] is True


def test_better_is_refused_where_a_point_of_loss_is_within_the_interval() -> None:
    generator = np.random.default_rng(0)
    mixed = right(150) ^ (generator.permutation(200) < 40)
    mixed[np.flatnonzero(~mixed)[: 151 - mixed.sum()]] = True
    decision = decide_promotion(
        candidate(mixed), metrics(), champion(right(150)), **SETTINGS, require="better"
    )
    assert decision["comparison"]["difference"] > 0
    assert decision["is_promoted"] is False
    assert "more than 1 points worse" in decision["reasons"][-1]


def test_equally_good_models_are_promoted_in_at_most_one_of_forty() -> None:
    generator = np.random.default_rng(1)
    promotions = 0
    for seed in range(100):
        ours, theirs = generator.random(200) < 0.9, generator.random(200) < 0.9
        settings = SETTINGS | {"seed": seed, "num_resamples": 200}
        promotions += decide_promotion(candidate(ours), metrics(), champion(theirs), **settings)[
            "is_promoted"
        ]
    assert promotions <= 7  # 2.5 % of 100 are 2.5, with a standard error of 1.6


def test_groups_are_kept_whole_where_the_metrics_were_measured_so() -> None:
    ours, theirs = right(170), right(150)  # the 20 images gained are two groups of ten
    by_image = decide_promotion(candidate(ours), metrics(), champion(theirs), **SETTINGS)
    by_group = decide_promotion(candidate(ours), metrics(unit="group"), champion(theirs), **SETTINGS)
    assert by_image["is_promoted"] is True
    assert by_group["is_promoted"] is False
    assert by_group["comparison"]["unit"] == "group"


@pytest.mark.parametrize("num_recorded", [0, 199])
def test_a_champion_tested_on_other_images_is_not_replaced(num_recorded: int) -> None:
    record = champion(right(150))
    if num_recorded:
        record = record.iloc[:num_recorded]
    else:
        record = record.assign(sha256=[f"other-{i}" for i in range(200)])
    decision = decide_promotion(candidate(right(200)), metrics(), record, **SETTINGS)
    assert decision["aliases"] == ["challenger"]
    assert f"only {num_recorded} are among" in decision["reasons"][-1]
    assert decision["comparison"] == {"num_images": 200, "num_images_in_common": num_recorded}


def test_images_of_the_champions_val_do_not_count_as_tested() -> None:
    record = champion(right(150))
    record.loc[:49, "split"] = "val"
    decision = decide_promotion(candidate(right(200)), metrics(), record, **SETTINGS)
    assert decision["comparison"]["num_images_in_common"] == 150
    assert decision["is_promoted"] is False


def test_a_champion_tested_on_more_images_is_compared_on_the_candidates() -> None:
    record = pd.concat([champion(right(150)), rows(right(0, 100), model="probe", start=200)])
    decision = decide_promotion(candidate(right(180)), metrics(), record, **SETTINGS)
    assert decision["comparison"]["champion_accuracy"] == pytest.approx(0.75)
    assert decision["is_promoted"] is True


def test_a_file_listed_twice_is_paired_twice() -> None:
    predictions, record = candidate(right(180)), champion(right(150))
    predictions.loc[predictions["sha256"] == "test-3", "sha256"] = "test-1"
    record.loc[record["sha256"] == "test-3", "sha256"] = "test-1"
    decision = decide_promotion(predictions, metrics(), record, **SETTINGS)
    assert decision["comparison"]["num_images"] == 200
    assert decision["comparison"]["champion_accuracy"] == pytest.approx(0.75)
    assert decision["is_promoted"] is True


def test_two_answers_of_the_champion_to_one_file_are_no_record() -> None:
    record = champion(right(150))
    record.loc[record["sha256"] == "test-2", "sha256"] = "test-1"
    predictions = candidate(right(180))
    predictions.loc[predictions["sha256"] == "test-2", "sha256"] = "test-1"
    decision = decide_promotion(predictions, metrics(), record, **SETTINGS)
    assert decision["is_promoted"] is False
    assert "two different answers for 1 test images" in decision["reasons"][-1]


def test_both_are_scored_against_the_labels_of_now() -> None:
    predictions, record = candidate(right(200)), champion(right(200))
    record.loc[:29, "label_name"] = record.loc[:29, "label_name"].map(
        dict(zip(LABELS, LABELS[::-1], strict=True))
    )
    record.loc[:29, "predicted_name"] = record.loc[:29, "label_name"]
    decision = decide_promotion(predictions, metrics(), record, **SETTINGS)
    assert decision["comparison"]["champion_accuracy"] == pytest.approx(0.85)
    assert "30 of 200 test images have another label" in decision["reasons"][-2]


def test_other_classes_are_not_compared() -> None:
    record = champion(right(150)).rename(columns={"p_defective": "p_cracked"})
    decision = decide_promotion(candidate(right(200)), metrics(), record, **SETTINGS)
    assert decision["is_promoted"] is False
    assert "only the candidate knows defective; only the champion knows cracked" in decision["reasons"][-1]


def test_a_model_no_better_than_no_pixels_is_registered_with_a_warning() -> None:
    weak = metrics()
    weak["baselines"]["group_majority"]["accuracy"]["value"] = 0.93
    decision = decide_promotion(candidate(right(150)), weak, None, **SETTINGS)
    assert (
        "Beware: without looking at a pixel, the majority of the group scores 93.0 %"
        in decision["reasons"][1]
    )


def test_the_decision_is_json_and_the_same_each_time() -> None:
    first, second = (
        json.dumps(
            decide_promotion(candidate(right(180)), metrics(), champion(right(150)), **SETTINGS),
            allow_nan=False,
        )
        for _ in range(2)
    )
    assert first == second


def test_all_faults_are_told_at_once() -> None:
    record = candidate(right(150)).drop(columns="group")
    with pytest.raises(ComparisonError) as caught:
        decide_promotion(
            candidate(right(150)),
            metrics(),
            record,
            **SETTINGS | {"selection_metric": "logloss"},
            require="beter",
        )
    for text in (
        "Did you mean 'log_loss'?",
        "Did you mean 'better'?",
        "the champion's predictions lack the columns group",
    ):
        assert text in str(caught.value)
    with pytest.raises(ComparisonError, match="expected is the one model that was registered"):
        decide_promotion(candidate(right(150)), metrics(), candidate(right(150)), **SETTINGS)
    with pytest.raises(ComparisonError, match="no image in the split 'test'"):
        decide_promotion(candidate(right(150)), metrics(), champion(right(5)).assign(split="val"), **SETTINGS)
