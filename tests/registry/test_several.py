import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from regraft.registry.pairing import ComparisonError
from regraft.registry.promotion import decide_promotion, registered_predictions
from regraft.registry.several import decide_several

SETTINGS: dict[str, Any] = {
    "selection_metric": "log_loss",
    "num_resamples": 2000,
    "confidence": 0.95,
    "seed": 0,
    "require": "significantly_better",
}
TARGETS: list[dict[str, Any]] = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 2},
]
NUM_IMAGES = 300


def rows(
    seed: int = 0,
    *,
    model: str = "fine_tuned",
    split: str = "test",
    gender: float = 1.0,
    age: float = 5.0,
    face: float = 0.02,
    num_images: int = NUM_IMAGES,
    own: float = 0.2,
) -> pd.DataFrame:
    """What is true is drawn once; how far a model is off by its seed, in part, and in part by the image.

    Args:
        seed: Of what only this model gets wrong.
        model: Its name.
        split: Of all rows.
        gender: How sure it is of what is true, in logits.
        age: Its error, a deviation in years.
        face: Its error in fractions of the sides.
        num_images: How many.
        own: Fraction of the errors' variance that is this model's own.
    """
    truth, generator = np.random.default_rng(9), np.random.default_rng(seed)
    mixed = np.sqrt(1 - own) * truth.normal(size=(num_images, 6)) + np.sqrt(own) * generator.normal(
        size=(num_images, 6)
    )
    is_male = truth.integers(0, 2, num_images)
    years, points = truth.uniform(1, 90, num_images), truth.random((num_images, 4))
    p_male = 1 / (1 + np.exp(-((2 * is_male - 1) * gender + mixed[:, 0])))
    names = np.array(["female", "male"], dtype=object)
    table = {
        "id": np.arange(num_images),
        "sha256": [f"{split}-{number}" for number in range(num_images)],
        "split": split,
        "group": [f"g{number // 10}" for number in range(num_images)],
        "label_name": "x",
        "model": model,
        "gender.true": is_male,
        "gender.true_name": names[is_male],
        "gender.predicted": (p_male > 0.5).astype(int),
        "gender.predicted_name": names[(p_male > 0.5).astype(int)],
        "gender.p_female": 1 - p_male,
        "gender.p_male": p_male,
        "age.true": years,
        "age.predicted": years + age * mixed[:, 1],
    }
    for column, (place, axis) in enumerate([(0, "x"), (0, "y"), (1, "x"), (1, "y")]):
        table[f"face.true_{axis}{place}"] = points[:, column]
        table[f"face.predicted_{axis}{place}"] = points[:, column] + face * mixed[:, 2 + column]
    return pd.DataFrame(table)


def candidate(fine_tuned: pd.DataFrame) -> pd.DataFrame:
    val = [rows(model=model, split="val", num_images=20) for model in ("probe", "fine_tuned")]
    return pd.concat([fine_tuned, fine_tuned.assign(model="probe"), *val], ignore_index=True)


def metrics(
    probe: float = 1.2, fine_tuned: float = 1.1, unit: str = "image", **baselines: dict[str, float | None]
) -> dict[str, Any]:
    """Joint losses on val; 90 %, 4 years and 0.02 on test."""
    test = {"gender.accuracy": 0.9, "age.mean_absolute_error": 4.0, "face.mean_distance": 0.02}
    of_test = {name: {"value": value} for name, value in test.items()}
    return {
        "targets": TARGETS,
        "val": {
            "probe": {"joint_loss": {"value": probe}},
            "fine_tuned": {"joint_loss": {"value": fine_tuned}},
        },
        "test": {"probe": of_test, "fine_tuned": of_test},
        "baselines": {
            baseline: {name: {"value": baselines.get(baseline, {}).get(name)} for name in test}
            for baseline in ("constant", "group", "metadata")
        },
        "resampling": {"test": {"unit": unit}},
    }


def decide(ours: pd.DataFrame, theirs: pd.DataFrame | None, **changes: Any) -> dict[str, Any]:
    measured = changes.pop("measured", metrics())
    return decide_several(candidate(ours), measured, theirs, **SETTINGS | changes)


CHAMPION = rows(1, model="probe")


def test_the_first_model_becomes_champion() -> None:
    decision = decide(rows(), None)
    assert decision["aliases"] == ["challenger", "champion"]
    assert decision["comparison"] is None
    assert "no champion" in decision["reasons"][-1]


@pytest.mark.parametrize(
    ("probe", "fine_tuned", "chosen"), [(1.2, 1.1, "fine_tuned"), (1.1, 1.2, "probe"), (1.1, 1.1, "probe")]
)
def test_the_lower_joint_loss_on_val_is_registered_and_of_equals_the_probe(
    probe: float, fine_tuned: float, chosen: str
) -> None:
    decision = decide(rows(), None, measured=metrics(probe, fine_tuned), selection_metric="accuracy")
    assert decision["model"] == chosen
    assert decision["selection"]["metric"] == "joint_loss"
    assert "joint loss" in decision["reasons"][0]


def test_a_model_better_in_all_is_promoted_whatever_the_order_of_the_record() -> None:
    better = rows(2, gender=1.6, age=4.0, face=0.015)
    decision = decide(better, CHAMPION.sample(frac=1, random_state=0))
    assert decision["aliases"] == ["challenger", "champion"]
    comparison = decision["comparison"]
    assert comparison["difference"] == pytest.approx(
        comparison["champion_loss"] - comparison["candidate_loss"]
    )
    assert comparison["low"] > 0
    assert comparison["surely_worse"] == []
    assert "Promoted: it beats the champion" in decision["reasons"][-2]
    age = comparison["targets"]["age"]
    assert (
        f"; age: mean error {age['candidate']:.4g} against {age['champion']:.4g};" in decision["reasons"][-1]
    )


def test_the_comparison_is_that_of_losses_by_hand() -> None:
    ours = rows(2, age=4.0)
    comparison = decide(ours, CHAMPION)["comparison"]
    errors, unit = (
        ((table["age.predicted"] - CHAMPION["age.true"]) ** 2).mean() for table in (ours, CHAMPION)
    )
    of_age = comparison["targets"]["age"]
    assert of_age["champion_loss"] == pytest.approx(0.5)  # its own mean squared error is the unit
    assert of_age["candidate_loss"] == pytest.approx(errors / unit / 2)
    assert of_age["candidate"] == pytest.approx(abs(ours["age.predicted"] - ours["age.true"]).mean())
    of_gender = comparison["targets"]["gender"]
    is_male = CHAMPION["gender.true"] == 1
    p_true = np.where(is_male, CHAMPION["gender.p_male"], CHAMPION["gender.p_female"])
    assert of_gender["champion_loss"] == pytest.approx(-np.log(p_true).mean())
    assert comparison["targets"]["face"]["champion_loss"] == pytest.approx(0.5)
    total = sum(comparison["targets"][name]["candidate_loss"] for name in ("gender", "age", "face"))
    assert comparison["candidate_loss"] == pytest.approx(total)


def test_equally_good_models_are_promoted_in_at_most_one_of_forty() -> None:
    promotions = sum(
        decide(rows(2 * seed + 10), rows(2 * seed + 11, model="probe"), seed=seed, num_resamples=200)[
            "is_promoted"
        ]
        for seed in range(100)
    )
    assert promotions <= 7  # 2.5 % of 100 are 2.5, with a standard error of 1.6


def test_a_little_better_may_be_chance() -> None:
    ours, theirs = rows(2, age=4.8, own=0.5), rows(1, model="probe", own=0.5)
    decision = decide(ours, theirs)
    assert decision["is_promoted"] is False
    assert decision["comparison"]["difference"] > 0
    assert "may be chance" in decision["reasons"][-2]
    assert decide(ours, theirs, require="better")["is_promoted"] is True


def test_four_images_saved_are_noise_though_the_bootstrap_interval_lies_above_0() -> None:
    theirs = CHAMPION.copy()
    theirs.loc[:3, "age.predicted"] = theirs.loc[:3, "age.true"] + 40.0
    decision = decide(rows(1), theirs)
    assert decision["comparison"]["low"] > 0
    assert decision["comparison"]["p_value"] == pytest.approx(0.125, abs=0.03)  # 2 of 16 flips
    assert decision["is_promoted"] is False
    assert "may be chance" in decision["reasons"][-2]


@pytest.mark.parametrize("require", ["better", "significantly_better"])
def test_what_one_target_pays_for_another_is_not_promoted(require: str) -> None:
    decision = decide(rows(2, gender=3.0, age=6.0), CHAMPION, require=require)
    comparison = decision["comparison"]
    assert comparison["low"] > 0  # better in all
    assert comparison["surely_worse"] == ["age"]
    assert comparison["targets"]["age"]["high"] < 0
    assert decision["is_promoted"] is False
    assert "Not promoted: better in all, but age is surely worse (95 % interval" in decision["reasons"][-2]


def test_a_worse_model_is_not_promoted() -> None:
    decision = decide(rows(2, age=6.0), CHAMPION, require="better")
    assert decision["is_promoted"] is False
    assert "not better than the champion" in decision["reasons"][-2]


@pytest.mark.parametrize("require", ["better", "significantly_better"])
def test_the_champion_itself_is_told_so(require: str) -> None:
    first = decide(rows(), None)
    record = registered_predictions(candidate(rows()), first)
    rounded = record.assign(**{"age.predicted": record["age.predicted"] * (1 + 1e-15)})
    again = decide(rows(), rounded, require=require)
    assert again["aliases"] == ["challenger"]
    assert again["comparison"]["is_champion"]
    assert again["reasons"][-1].startswith("It is the champion: the same answers for all 300 test images.")
    other = record.assign(**{"face.predicted_y1": record["face.predicted_y1"] + 1e-6})
    assert not decide(rows(), other)["comparison"]["is_champion"]


def test_groups_are_kept_whole_where_the_metrics_were_measured_so() -> None:
    ours, theirs = rows(1, model="fine_tuned"), CHAMPION.copy()
    in_two_groups = theirs["group"].isin(["g0", "g1"])
    theirs.loc[in_two_groups, "age.predicted"] += 9.0  # 20 images of two groups are all that is better
    assert decide(ours, theirs)["is_promoted"] is True
    by_group = decide(ours, theirs, measured=metrics(unit="group"))
    assert by_group["is_promoted"] is False
    assert by_group["comparison"]["unit"] == "group"


@pytest.mark.parametrize("num_recorded", [1, 299])
def test_a_champion_tested_on_other_images_is_not_replaced(num_recorded: int) -> None:
    decision = decide(rows(2, age=1.0), CHAMPION.iloc[:num_recorded])
    assert decision["is_promoted"] is False
    assert f"only {num_recorded} are among" in decision["reasons"][-1]
    assert decision["comparison"] == {"num_images": 300, "num_images_in_common": num_recorded}


def test_images_of_the_champions_val_do_not_count_as_tested() -> None:
    record = CHAMPION.copy()
    record.loc[:49, "split"] = "val"
    assert decide(rows(2, age=1.0), record)["comparison"]["num_images_in_common"] == 250


def test_two_answers_of_the_champion_to_one_file_are_no_record() -> None:
    record, ours = CHAMPION.copy(), rows(2, age=1.0)
    for table in (record, ours):
        table.loc[table["sha256"] == "test-2", "sha256"] = "test-1"
    decision = decide(ours, record)
    assert decision["is_promoted"] is False
    assert "two different answers for 1 test images" in decision["reasons"][-1]


def test_both_are_scored_against_what_is_true_now() -> None:
    record = rows(2, model="probe", own=0.0)
    record.loc[:9, "age.true"] += 30
    record.loc[5:14, "gender.true_name"] = "neither"
    decision = decide(rows(3, own=0.0), record)
    assert "Of 15 of 300 test images something else is true" in decision["reasons"][-2]
    assert decision["comparison"]["difference"] == pytest.approx(0)


def test_other_targets_are_not_compared() -> None:
    renamed = CHAMPION.rename(columns=lambda column: column.replace("age.", "income."))
    decision = decide(rows(2, age=1.0), renamed)
    assert decision["is_promoted"] is False
    assert "only the candidate tells age; only the champion tells income" in decision["reasons"][-1]
    relabelled = CHAMPION.rename(columns={"gender.p_male": "gender.p_man"})
    told = decide(rows(2), relabelled)["reasons"][-1]
    assert (
        "only the candidate tells gender (female, male); only the champion tells gender (female, man)" in told
    )
    fewer = CHAMPION.drop(columns=[column for column in CHAMPION if column.endswith(("x1", "y1"))])
    assert (
        "2 points of face; only the champion tells 1 point of face" in decide(rows(2), fewer)["reasons"][-1]
    )


def plain(model: str) -> pd.DataFrame:
    """Of one label, on the same images."""
    table = rows(model=model)[["id", "sha256", "split", "group", "label_name", "model"]]
    return table.assign(predicted=0, predicted_name="x", p_x=0.9, p_y=0.1)


def test_one_label_and_several_targets_are_not_compared_whichever_is_the_champion() -> None:
    decision = decide(rows(2), plain("probe"))
    assert decision["aliases"] == ["challenger"]
    assert (
        "the champion tells one label of an image, the candidate gender (female, male), age and 2 points"
        in (decision["reasons"][-1])
    )
    accuracy = {"accuracy": {"value": 0.9}, "log_loss": {"value": 0.3}}
    measured = {
        "val": {"probe": accuracy, "fine_tuned": accuracy},
        "test": {"probe": accuracy, "fine_tuned": accuracy},
        "baselines": {
            name: {"accuracy": {"value": 0.5}} for name in ("majority_class", "group_majority", "metadata")
        },
        "resampling": {"test": {"unit": "image"}},
    }
    ours = pd.concat([plain("probe"), plain("fine_tuned")])
    other_way = decide_promotion(ours, measured, CHAMPION, **SETTINGS)
    assert other_way["aliases"] == ["challenger"]
    assert (
        "the champion tells gender (female, male), age and 2 points of face of an image"
        in (other_way["reasons"][-1])
    )


def test_a_target_no_better_than_no_pixels_is_warned_of() -> None:
    measured = metrics(
        constant={"gender.accuracy": 0.9, "age.mean_absolute_error": 12.0, "face.mean_distance": 0.019},
        group={"gender.accuracy": None, "age.mean_absolute_error": 4.0, "face.mean_distance": None},
        metadata={"gender.accuracy": 0.89, "age.mean_absolute_error": 4.1, "face.mean_distance": 0.03},
    )
    assert decide(rows(), None, measured=measured)["reasons"][1:-1] == [
        "Beware: without looking at a pixel, the most frequent class has for gender on test the accuracy 90.0 %; the "
        "model 90.0 %.",
        "Beware: without looking at a pixel, the median of the group has for age on test the mean error 4; the model "
        "4.",
        "Beware: without looking at a pixel, the mean shape has for face on test the mean distance 1.90 % of the side; "
        "the model 2.00 % of the side.",
    ]


def test_a_champion_without_any_error_is_not_beaten_and_nothing_is_infinite() -> None:
    perfect = CHAMPION.assign(**{"age.predicted": CHAMPION["age.true"]})
    decision = decide(rows(2, gender=3.0), perfect)
    assert decision["comparison"]["surely_worse"] == ["age"]
    json.dumps(decision, allow_nan=False)


def test_the_decision_is_json_and_the_same_each_time() -> None:
    first, second = (json.dumps(decide(rows(2), CHAMPION), allow_nan=False) for _ in range(2))
    assert first == second


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ComparisonError) as caught:
        decide_several(
            candidate(rows()).drop(columns="face.predicted_x1"),
            metrics(),
            CHAMPION.drop(columns="group"),
            **SETTINGS | {"require": "beter"},
        )
    for text in (
        "Did you mean 'better'?",
        "the candidate's predictions lack the columns face.predicted_x1",
        "the champion's predictions lack the columns group",
    ):
        assert text in str(caught.value)
