"""The dict that report, tracker and gate read, where several targets are learnt."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from regraft.evaluation.intervals import Bootstrap, bootstrap_models
from regraft.evaluation.measure import plain_scores
from regraft.evaluation.predictions import PredictionsError
from regraft.evaluation.several.answers import take_apart
from regraft.training.target_losses import image_losses

BOOTSTRAP = Bootstrap(num_resamples=200, confidence=0.95, seed=0)


@pytest.fixture(scope="module")
def metrics(several: Any) -> dict[str, Any]:
    return several.measure()


def test_metrics_are_json_and_the_same_whatever_the_order_of_rows(several: Any, metrics: Any) -> None:
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    shuffled = several._replace(
        predictions=several.predictions.sample(frac=1, random_state=1),
        manifest=several.manifest.sample(frac=1, random_state=2),
    )
    assert json.dumps(shuffled.measure()) == json.dumps(metrics)


def test_values_equal_scikit_learn_on_the_table(several: Any, metrics: Any) -> None:
    for split in ("val", "test"):
        for model in ("probe", "fine_tuned"):
            rows = several.predictions.query("split == @split and model == @model")
            values = {name: found["value"] for name, found in metrics[split][model].items()}
            expected = sklearn_metrics.mean_absolute_error(rows["age.true"], rows["age.predicted"])
            assert values["age.mean_absolute_error"] == pytest.approx(expected)
            expected = sklearn_metrics.roc_auc_score(rows["gender.true"], rows["gender.p_male"])
            assert values["gender.roc_auc"] == pytest.approx(expected)
            distances = [
                np.hypot(
                    rows[f"face.predicted_x{point}"] - rows[f"face.true_x{point}"],
                    rows[f"face.predicted_y{point}"] - rows[f"face.true_y{point}"],
                )
                for point in range(5)
            ]
            assert values["face.mean_distance"] == pytest.approx(np.mean(distances))


def test_intervals_of_classes_are_those_of_one_label(several: Any, metrics: Any) -> None:
    test = take_apart(several.predictions, "test", several.targets)
    said = {model: of_model["gender"] for model, of_model in test.said.items()}
    estimates, difference = bootstrap_models(said, test.true["gender"], bootstrap=BOOTSTRAP, groups=None)
    for name in ("accuracy", "roc_auc", "log_loss"):
        assert metrics["test"]["probe"][f"gender.{name}"] == estimates["probe"][name].as_dict()
        assert metrics["test"]["difference"][f"gender.{name}"] == difference[name].as_dict()


def test_intervals_hold_what_a_second_sample_of_images_gives(build_several: Callable, metrics: Any) -> None:
    estimate = metrics["test"]["fine_tuned"]["age.mean_absolute_error"]
    assert estimate["low"] < estimate["value"] < estimate["high"]
    many = build_several(4000, seed=1).measure()["test"]["fine_tuned"]["age.mean_absolute_error"]
    assert estimate["low"] < many["value"] < estimate["high"]


def test_a_difference_is_fine_tuned_minus_probe(metrics: Any) -> None:
    test = metrics["test"]
    assert list(test["difference"]) == list(test["probe"]) == list(test["fine_tuned"])
    for name, found in test["difference"].items():
        gain = test["fine_tuned"][name]["value"] - test["probe"][name]["value"]
        assert found["value"] == pytest.approx(gain), name
    assert test["difference"]["joint_loss"]["high"] < 0


def test_the_joint_loss_is_in_units_of_the_probe_on_val(several: Any, metrics: Any) -> None:
    val = several.predictions.query("split == 'val' and model == 'probe'")
    expected = sklearn_metrics.mean_squared_error(val["age.true"], val["age.predicted"])
    assert metrics["loss_units"] == {
        "age": pytest.approx(expected),
        "face": pytest.approx(metrics["loss_units"]["face"]),
    }
    test = take_apart(several.predictions, "test", several.targets)
    losses = image_losses(test.true, test.said["fine_tuned"], several.targets, metrics["loss_units"])
    expected = np.mean(sum(losses.values()))
    assert metrics["test"]["fine_tuned"]["joint_loss"]["value"] == pytest.approx(expected)
    # of the probe on val each number and point costs half a nat by its own measure
    others = metrics["val"]["probe"]["gender.log_loss"]["value"] + 0.5 + 0.5
    assert metrics["val"]["probe"]["joint_loss"]["value"] == pytest.approx(others)


def test_plain_scores_are_the_values_of_both_models_on_both_splits(metrics: Any) -> None:
    scores = plain_scores(metrics)
    assert list(scores) == ["probe_val", "fine_tuned_val", "probe_test", "fine_tuned_test"]
    assert scores["probe_val"]["age.r2"] == metrics["val"]["probe"]["age.r2"]["value"]
    assert "joint_loss" in scores["fine_tuned_test"]


def test_groups_are_resampled_only_where_they_are_held_out(build_several: Callable, metrics: Any) -> None:
    held_out = build_several(400, split_by_group=True).measure()
    assert metrics["resampling"]["test"] == {"unit": "image", "num_units": metrics["num_images"]["test"]}
    assert held_out["resampling"]["test"] == {"unit": "group", "num_units": 3}
    assert "3 groups only" in held_out["notes"][0]
    width = {
        name: found["high"] - found["low"]
        for name, found in held_out["baselines"]["constant"].items()
        if name.startswith("age")
    }
    assert width["age.mean_absolute_error"] > 3  # ages differ by group


def test_counts_are_by_what_images_were_split_by(several: Any, metrics: Any) -> None:
    assert metrics["label_names"] == ["female", "male"]
    assert metrics["num_images"] == several.manifest["split"].value_counts().to_dict()
    assert sum(metrics["class_counts"]["test"].values()) == metrics["num_images"]["test"]
    assert metrics["label_noise"] is None
    matrix = metrics["confusion_matrix"]["gender"]["fine_tuned"]
    assert np.sum(matrix) == metrics["num_images"]["test"]


def test_baselines_are_by_target_and_know_no_pixel(several: Any, metrics: Any) -> None:
    baselines = metrics["baselines"]
    assert list(baselines) == ["constant", "group", "metadata"]
    train, test = (several.manifest.query("split == @name") for name in ("train", "test"))
    expected = (test["target_age"] - train["target_age"].median()).abs().mean()
    assert baselines["constant"]["age.mean_absolute_error"]["value"] == pytest.approx(expected)
    expected = (test["target_gender"] == train["target_gender"].mode()[0]).mean()
    assert baselines["constant"]["gender.accuracy"]["value"] == pytest.approx(expected)
    constant, group = (baselines[name]["age.mean_absolute_error"]["value"] for name in ("constant", "group"))
    assert group < 0.5 * constant


def test_without_groups_there_is_no_baseline_of_groups(build_several: Callable) -> None:
    found = build_several(num_groups=None).measure()["baselines"]["group"]
    assert found["age.mean_absolute_error"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "the images have no groups",
    }


def test_perfect_answers_have_scores_and_notes(build_several: Callable) -> None:
    metrics = build_several(120, errors=(0.0, 0.0)).measure()
    probe = metrics["test"]["probe"]
    assert probe["age.mean_absolute_error"] == {"value": 0, "low": 0, "high": 0}
    assert probe["age.r2"]["value"] == 1
    assert probe["face.found_within_5_percent"]["value"] == 1
    assert probe["joint_loss"]["value"] == pytest.approx(0, abs=1e-9)
    assert metrics["test"]["difference"]["joint_loss"]["value"] == 0
    assert [note.split(" makes")[0] for note in metrics["notes"]] == [
        "gender: The probe model",
        "gender: The fine-tuned model",
    ]


def with_one_image_a_split(several: Any) -> Any:
    table = several.manifest
    kept = [
        *table.index[table["split"] == "train"],
        *(table.index[table["split"] == s][0] for s in ("val", "test")),
    ]
    manifest = table.loc[kept]
    return several._replace(
        manifest=manifest, predictions=several.predictions[several.predictions["id"].isin(manifest["id"])]
    )


def test_one_image_a_split_is_enough(several: Any) -> None:
    metrics = with_one_image_a_split(several).measure()
    json.dumps(metrics, allow_nan=False)
    found = metrics["test"]["probe"]
    assert found["age.mean_absolute_error"]["low"] == found["age.mean_absolute_error"]["value"]
    assert found["age.r2"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "not defined on these images: all their numbers are equal",
    }
    assert metrics["resampling"]["test"]["num_units"] == 1


def test_equal_numbers_have_no_r2_and_say_why(several: Any) -> None:
    is_test = several.manifest["split"] == "test"
    manifest = several.manifest.assign(target_age=several.manifest["target_age"].mask(is_test, 30.0))
    predictions = several.predictions.assign(
        **{"age.true": several.predictions["age.true"].mask(several.predictions["split"] == "test", 30.0)}
    )
    metrics = several._replace(manifest=manifest, predictions=predictions).measure()
    assert metrics["test"]["probe"]["age.r2"]["value"] is None
    assert "all their numbers are equal" in metrics["test"]["difference"]["age.r2"]["reason"]
    assert metrics["val"]["probe"]["age.r2"]["value"] is not None


def test_numbers_read_from_a_csv_are_the_same_numbers(several: Any, metrics: Any) -> None:
    again = pd.read_csv(io.StringIO(several.predictions.to_csv(index=False)))
    found = several._replace(predictions=again).measure()
    assert found["test"]["probe"]["age.mean_absolute_error"]["value"] == pytest.approx(
        metrics["test"]["probe"]["age.mean_absolute_error"]["value"], rel=1e-9
    )


def test_a_target_that_is_told_no_better_than_by_one_answer_is_noted(several: Any) -> None:
    is_tuned = several.predictions["model"] == "fine_tuned"
    worse = several.predictions["age.predicted"].mask(is_tuned, several.predictions["age.predicted"] + 90)
    metrics = several._replace(predictions=several.predictions.assign(**{"age.predicted": worse})).measure()
    (note,) = [note for note in metrics["notes"] if note.startswith("age: ")]
    assert "the fine-tuned model is no better than the median of train" in note


def test_a_number_that_differs_by_source_is_a_note(several: Any, metrics: Any) -> None:
    assert not any("differs by source" in note for note in metrics["notes"])
    by_source = several.manifest.assign(width=300 + several.manifest["target_age"])
    notes = several._replace(manifest=by_source).measure()["notes"]
    (note,) = [note for note in notes if "differs by source" in note]
    assert note.startswith("age: ")


def test_a_class_without_test_images_is_a_note(several: Any) -> None:
    targets = [{**several.targets[0], "label_names": ["female", "male", "unheard of"]}, *several.targets[1:]]
    predictions = several.predictions.assign(**{"gender.p_unheard of": 0.0})
    notes = several._replace(targets=targets, predictions=predictions).measure()["notes"]
    assert any(note.startswith("gender: No test image is of class unheard of") for note in notes)


def plant(predictions: pd.DataFrame, fault: str) -> pd.DataFrame:
    is_first = predictions.index == predictions.index[0]
    match fault:
        case "missing":
            return predictions[~is_first]
        case "twice":
            return pd.concat([predictions, predictions[is_first]])
        case "another age":
            return predictions.assign(**{"age.true": predictions["age.true"].mask(is_first, 120.0)})
        case "no number":
            return predictions.assign(
                **{"face.predicted_y3": predictions["face.predicted_y3"].mask(is_first)}
            )
        case "predicted":
            return predictions.assign(**{"gender.predicted": 1 - predictions["gender.predicted"]})
        case "column":
            return predictions.drop(columns="face.predicted_x0")
    raise AssertionError(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "probe on .*: 1 of .* images of the manifest have no prediction"),
        ("twice", "1 images are predicted twice"),
        ("another age", "1 rows have another age than in the manifest"),
        ("no number", "1 rows say no number of face"),
        ("predicted", "rows predict another gender than their most probable one"),
        ("column", "predictions lack the columns face.predicted_x0"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(several: Any, fault: str, message: str) -> None:
    with pytest.raises(PredictionsError, match=message):
        several._replace(predictions=plant(several.predictions, fault)).measure()
