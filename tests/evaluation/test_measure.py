import io
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn_metrics

from regraft.evaluation.measure import measure, plain_scores
from regraft.evaluation.metrics import METRICS
from regraft.evaluation.predictions import PredictionsError

SETTINGS = {"num_resamples": 200, "confidence": 0.95, "seed": 0}


def test_metrics_are_json_and_the_same_whatever_the_order_of_rows(build_tables: Callable) -> None:
    predictions, manifest, label_names = build_tables()
    metrics = measure(predictions, manifest, label_names, **SETTINGS)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    shuffled = measure(
        predictions.sample(frac=1, random_state=1),
        manifest.sample(frac=1, random_state=2),
        label_names,
        **SETTINGS,
    )
    assert json.dumps(shuffled) == json.dumps(metrics)


def test_values_equal_scikit_learn_on_the_table(build_tables: Callable) -> None:
    predictions, manifest, label_names = build_tables()
    metrics = measure(predictions, manifest, label_names, **SETTINGS)
    for split in ("val", "test"):
        for model in ("probe", "fine_tuned"):
            rows = predictions[(predictions["split"] == split) & (predictions["model"] == model)]
            values = metrics[split][model]
            assert set(values) == set(METRICS)
            expected = sklearn_metrics.accuracy_score(rows["label_name"], rows["predicted_name"])
            assert values["accuracy"]["value"] == pytest.approx(expected)
            expected = sklearn_metrics.roc_auc_score(rows["label"], rows["p_defective"])
            assert values["roc_auc"]["value"] == pytest.approx(expected)
    rows = predictions[(predictions["split"] == "test") & (predictions["model"] == "probe")]
    matrix = sklearn_metrics.confusion_matrix(rows["label"], rows["predicted"])
    assert metrics["confusion_matrix"]["probe"] == matrix.tolist()
    assert metrics["num_images"] == manifest["split"].value_counts().to_dict()
    assert sum(metrics["class_counts"]["test"].values()) == metrics["num_images"]["test"]


def test_plain_scores_are_the_values_of_both_models_on_both_splits(build_tables: Callable) -> None:
    metrics = measure(*build_tables(), **SETTINGS)
    scores = plain_scores(metrics)
    assert list(scores) == ["probe_val", "fine_tuned_val", "probe_test", "fine_tuned_test"]
    assert all(set(values) == set(METRICS) for values in scores.values())
    assert scores["probe_val"]["brier"] == metrics["val"]["probe"]["brier"]["value"]
    assert scores["fine_tuned_test"]["accuracy"] == metrics["test"]["fine_tuned"]["accuracy"]["value"]


def test_difference_is_fine_tuned_minus_probe(build_tables: Callable) -> None:
    metrics = measure(*build_tables(), **SETTINGS)["test"]
    gain = metrics["fine_tuned"]["accuracy"]["value"] - metrics["probe"]["accuracy"]["value"]
    assert metrics["difference"]["accuracy"]["value"] == pytest.approx(gain)
    assert metrics["difference"]["accuracy"]["low"] < gain < metrics["difference"]["accuracy"]["high"]


def test_groups_are_resampled_only_where_they_are_held_out(build_tables: Callable) -> None:
    mixed = measure(*build_tables(num_images=400), **SETTINGS)
    held_out = measure(*build_tables(num_images=400, split_by_group=True), **SETTINGS)
    without = measure(*build_tables(num_images=400, num_groups=None), **SETTINGS)
    assert mixed["resampling"]["test"] == {"unit": "image", "num_units": mixed["num_images"]["test"]}
    assert held_out["resampling"]["test"] == {"unit": "group", "num_units": 3}
    assert without["resampling"]["test"]["unit"] == "image"
    assert "3 groups only" in held_out["notes"][0]
    assert mixed["notes"] == []


def test_baselines_stand_beside_the_models(build_tables: Callable) -> None:
    mixed = measure(*build_tables(num_images=600), **SETTINGS)["baselines"]
    assert mixed["group_majority"]["accuracy"]["value"] > mixed["majority_class"]["accuracy"]["value"]
    assert mixed["majority_class"]["label_name"] == "functional"
    held_out = measure(*build_tables(num_images=600, split_by_group=True), **SETTINGS)
    assert held_out["baselines"]["group_majority"]["num_unseen_images"] == held_out["num_images"]["test"]
    assert (
        held_out["baselines"]["group_majority"]["accuracy"]
        == held_out["baselines"]["majority_class"]["accuracy"]
    )
    without = measure(*build_tables(num_groups=None), **SETTINGS)["baselines"]["group_majority"]["accuracy"]
    assert without == {"value": None, "low": None, "high": None, "reason": "the images have no groups"}


def test_groups_read_from_a_csv_are_groups(build_tables: Callable) -> None:
    predictions, manifest, label_names = build_tables(split_by_group=True)
    manifest.loc[::7, "group"] = None
    predictions = predictions.drop(columns="group").merge(manifest[["id", "group"]], on="id")
    text = predictions.to_csv(index=False)
    again = pd.read_csv(io.StringIO(text))
    as_built = measure(predictions, manifest, label_names, **SETTINGS)
    as_read = measure(again, manifest, label_names, **SETTINGS)
    assert as_read["resampling"] == as_built["resampling"]
    assert as_read["test"]["probe"]["accuracy"] == as_built["test"]["probe"]["accuracy"]


def test_a_perfect_score_and_a_class_without_test_images_are_noted(build_tables: Callable) -> None:
    predictions, manifest, _ = build_tables(num_images=60, skill=(40.0, 40.0))
    names = ["functional", "defective", "unheard of"]
    metrics = measure(predictions.assign(**{"p_unheard of": 0.0}), manifest, names, **SETTINGS)
    assert metrics["test"]["probe"]["accuracy"] == {"value": 1, "low": 1, "high": 1}
    assert metrics["test"]["probe"]["roc_auc"]["value"] is None
    assert [note.split(" makes")[0] for note in metrics["notes"][:2]] == [
        "The probe model",
        "The fine-tuned model",
    ]
    assert "unheard of" in metrics["notes"][2]


def plant(predictions: pd.DataFrame, fault: str) -> pd.DataFrame:
    first = predictions.index[0]
    match fault:
        case "missing":
            return predictions.drop(index=first)
        case "twice":
            return pd.concat([predictions, predictions.loc[[first]]])
        case "unknown":
            return predictions.assign(id=predictions["id"].where(predictions.index != first, 99_999))
        case "label":
            labels = predictions["label"].where(predictions.index != first, 1 - predictions["label"])
            return predictions.assign(label=labels, label_name=labels.map({0: "functional", 1: "defective"}))
        case "predicted":
            others = 1 - predictions["predicted"]
            return predictions.assign(
                predicted=others, predicted_name=others.map({0: "functional", 1: "defective"})
            )
        case "name":
            return predictions.assign(label_name="defective")
        case "model":
            return predictions.assign(model=predictions["model"].where(predictions.index != first, "prob"))
        case "column":
            return predictions.drop(columns="p_defective")
    raise AssertionError(fault)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", "1 of .* images of the manifest have no prediction"),
        ("twice", "1 images are predicted twice"),
        ("unknown", "1 predicted images are not in the manifest's split"),
        ("label", "1 images have another label than in the manifest"),
        ("predicted", "rows predict another class than their most probable one"),
        ("name", "rows have a label_name that is not the name of their label"),
        ("model", "'prob' is not a model of this table; allowed are probe, fine_tuned"),
        ("column", "predictions lack the columns p_defective"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(tables: tuple, fault: str, message: str) -> None:
    predictions, manifest, label_names = tables
    with pytest.raises(PredictionsError, match=message):
        measure(plant(predictions, fault), manifest, label_names, **SETTINGS)


def test_all_faults_are_told_at_once(tables: tuple) -> None:
    predictions, manifest, label_names = tables
    with pytest.raises(PredictionsError) as caught:
        measure(plant(plant(predictions, "missing"), "name"), manifest, label_names, **SETTINGS)
    assert "no prediction" in str(caught.value)
    assert "label_name" in str(caught.value)


def test_probabilities_that_do_not_sum_to_1_are_refused(tables: tuple) -> None:
    predictions, manifest, label_names = tables
    halved = predictions.assign(**{f"p_{n}": predictions[f"p_{n}"] / 2 for n in label_names})
    with pytest.raises(ValueError, match="rows are no probabilities"):
        measure(halved, manifest, label_names, **SETTINGS)
    assert np.isclose(predictions[[f"p_{n}" for n in label_names]].sum(axis=1), 1).all()


def test_classes_that_differ_by_source_are_a_note(build_tables: Callable) -> None:
    tables = build_tables(num_images=400)
    plain = measure(*tables, **SETTINGS)
    assert not any("differ by source" in note for note in plain["notes"])
    by_source = tables.manifest.assign(width=300 + 20 * tables.manifest["label"])
    telling = measure(tables.predictions, by_source, tables.label_names, **SETTINGS)
    assert telling["baselines"]["metadata"]["accuracy"]["value"] == 1
    (note,) = [note for note in telling["notes"] if "differ by source" in note]
    assert "100.0 % accuracy on test" in note
