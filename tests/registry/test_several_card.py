from typing import Any

import pytest

from regraft.registry.model_card import ModelFacts, model_card
from regraft.registry.several_card import task_of_several

TARGETS: list[dict[str, Any]] = [
    {"name": "age", "kind": "number"},
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "face", "kind": "points", "num_points": 68},
]
FACTS = ModelFacts(
    title="efficientnet_lite0: age, gender, face",
    task=task_of_several(TARGETS),
    backbone={"licence": "Apache-2.0"},
    preprocessing={"size": 224},
    settings={"fine_tune": {"learning_rate": 0.0003}},
    loading="model = load()\n",
)
REGISTRATION = {"model": "probe", "reasons": ["Its joint loss is lower."]}


def estimate(value: float | None, width: float = 0.0) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - width, "high": value + width}


def metrics(targets: list[dict[str, Any]] = TARGETS) -> dict[str, Any]:
    of_model = {
        "age.mean_absolute_error": estimate(4.25, 0.5),
        "gender.accuracy": estimate(0.9, 0.05),
        "gender.expected_calibration_error": estimate(0.03),
        "face.mean_distance": estimate(0.025, 0.005),
        "joint_loss": estimate(1.234, 0.1),
    }
    support = [{"label_name": "female", "support": 40}, {"label_name": "male", "support": 7}]
    return {
        "targets": targets,
        "test": {"probe": of_model, "fine_tuned": of_model | {"joint_loss": estimate(1.5, 0.1)}},
        "baselines": {
            "constant": {
                "age.mean_absolute_error": estimate(12.0, 1.0),
                "gender.accuracy": estimate(0.55, 0.1),
                "face.mean_distance": estimate(0.06, 0.01),
            },
            "group": dict.fromkeys(
                ("age.mean_absolute_error", "gender.accuracy", "face.mean_distance"), estimate(None)
            ),
            "metadata": {
                "age.mean_absolute_error": estimate(11.0, 1.0),
                "gender.accuracy": estimate(0.5, 0.1),
                "face.mean_distance": estimate(0.06, 0.01),
            },
        },
        "per_class": {"gender": {"probe": support, "fine_tuned": support}},
        "label_names": ["young", "old"],
        "class_counts": {split: {"young": 20, "old": 27} for split in ("train", "val", "test")},
        "num_images": dict.fromkeys(("train", "val", "test"), 47),
        "resampling": {"confidence": 0.95, "num_resamples": 2000, "test": {"unit": "image"}},
        "notes": ["A note."],
    }


def test_the_card_says_what_is_told_how_well_and_what_is_not() -> None:
    card = model_card(metrics(), REGISTRATION, {}, FACTS)
    for text in (
        "Tells age, gender (female, male) and 68 points of face in an image. This is the probe",
        "| Test | Probe (registered) | Fine-tuned | One answer for all | Of the group | Of the files' metadata |",
        "| age: mean absolute error (lower is better) | 4.250 (3.750 to 4.750) | 4.250 (3.750 to 4.750) | "
        "12.000 (11.000 to 13.000) | – | 11.000 (10.000 to 12.000) |",
        "| gender: accuracy | 90.0 % (85.0 to 95.0) |",
        "| face: mean distance, of the image's side (lower is better) | 2.5 % (2.0 to 3.0) |",
        "| Joint loss in nats (lower is better) | 1.234 (1.134 to 1.334) | 1.500 (1.400 to 1.600) | – | – | – |",
        "On 47 test images; in brackets 95 % bootstrap intervals over 2,000 resamples of images. The last three "
        "columns are reached without looking at a pixel.",
        "* Every image gets an answer to all of this: age, gender (female, male) and 68 points of face; also one that",
        "not of another camera",
        "* Few test images, so little is known of gender: male (7).",
        "* Its confidence in gender is off by 3.0 percentage points on average.",
        "* It does not say how sure it is of age and face.",
        "* Points are told as fractions of the image's width and height",
        "* A note.",
        "| Split by | train | val | test |",
        "| young | 20 | 20 | 20 |",
        "* Its joint loss is lower.",
    ):
        assert text in card
    assert card == model_card(metrics(), REGISTRATION, {}, FACTS)


def test_the_registered_model_stands_first() -> None:
    card = model_card(metrics(), REGISTRATION | {"model": "fine_tuned"}, {}, FACTS)
    assert "| Test | Fine-tuned (registered) | Probe |" in card
    assert "| Joint loss in nats (lower is better) | 1.500 (1.400 to 1.600) | 1.234" in card


@pytest.mark.parametrize("kind", ["number", "points"])
def test_a_limit_that_does_not_apply_is_not_told(kind: str) -> None:
    (target,) = (target for target in TARGETS if target["kind"] == kind)
    card = model_card(metrics([target]), REGISTRATION, {}, FACTS)
    assert "Its confidence" not in card
    assert ("Points are told" in card) == (kind == "points")
    assert f"It does not say how sure it is of {target['name']}." in card


def test_many_classes_are_cut_with_a_count() -> None:
    names = [f"c{number}" for number in range(100)]
    told = task_of_several([{"name": "kind", "kind": "classes", "label_names": names}])
    assert told.endswith("c19 and 80 more) in an image.")
