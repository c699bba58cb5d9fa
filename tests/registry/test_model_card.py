from dataclasses import replace
from typing import Any

import pytest

from regraft.registry.model_card import ModelFacts, model_card

FACTS = ModelFacts(
    title="solar-cells",
    task="Tells functional from defective solar cells.",
    backbone={"name": "efficientnet_lite0", "licence": "Apache-2.0", "sha256": "57934424"},
    preprocessing={"size": 224, "fit": "crop"},
    settings={"fine_tune": {"learning_rate": 0.0003}},
    loading="model = load()\n",
    data_notes=["Groups are inferred."],
)
REGISTRATION = {"model": "fine_tuned", "reasons": ["It is better on val."]}
INGEST_REPORT = {"num_unreadable": 2, "excluded": [], "duplicates": [{}], "num_images": 100}


def metrics(
    unit: str = "image", label_names: tuple[str, ...] = ("functional", "defective")
) -> dict[str, Any]:
    names = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss", "expected_calibration_error")
    counts = dict.fromkeys(label_names, 50) | {label_names[-1]: 7}
    return {
        "test": {
            "probe": {name: {"value": 0.8, "low": 0.75, "high": 0.85} for name in names},
            "fine_tuned": {name: {"value": 0.9, "low": 0.85, "high": 0.95} for name in names}
            | {"roc_auc": {"value": None, "low": None, "high": None, "reason": "not defined"}},
        },
        "baselines": {
            "majority_class": {"accuracy": {"value": 0.6, "low": 0.5, "high": 0.7}},
            "group_majority": {"accuracy": {"value": None, "low": None, "high": None}},
            "metadata": {"accuracy": {"value": None, "low": None, "high": None}},
        },
        "class_counts": dict.fromkeys(("train", "val", "test"), counts),
        "num_images": dict.fromkeys(("train", "val", "test"), sum(counts.values())),
        "label_names": list(label_names),
        "resampling": {"confidence": 0.95, "num_resamples": 2000, "test": {"unit": unit}},
        "notes": ["Few groups."],
    }


def test_the_card_says_what_one_must_know() -> None:
    card = model_card(metrics(), REGISTRATION, INGEST_REPORT, FACTS)
    for text in (
        "# solar-cells",
        "This is the fine-tuned model.",
        "| Accuracy | 90.0 % (85.0 to 95.0) | 80.0 % (75.0 to 85.0) |",
        "| Log loss in nats (lower is better) | 0.900 (0.850 to 0.950) | 0.800 (0.750 to 0.850) |",
        "| ROC AUC | – | 80.0 % (75.0 to 85.0) |",
        "the most frequent class 60.0 % (50.0 to 70.0).",
        "Few test images, so little is known: defective (7).",
        "not of another camera",
        "| `licence` | Apache-2.0 |",
        "| `sha256` | 57934424 |",
        "| `fine_tune.learning_rate` | 0.0003 |",
        "```python\nmodel = load()\n```",
        "* Groups are inferred.",
        "Images that could not be read and are left out: 2.",
        "Sets of images with the same pixels: 1.",
        "* Few groups.",
        "* It is better on val.",
    ):
        assert text in card
    assert "excluded" not in card
    assert card == model_card(metrics(), REGISTRATION, INGEST_REPORT, FACTS)


def test_the_registered_model_stands_first() -> None:
    card = model_card(metrics(), REGISTRATION | {"model": "probe"}, INGEST_REPORT, FACTS)
    assert "| Test | Probe (registered) | Fine-tuned |" in card
    assert "This is the probe, a new head on frozen features." in card


def test_held_out_groups_speak_of_new_groups() -> None:
    card = model_card(metrics(unit="group"), REGISTRATION, INGEST_REPORT, FACTS)
    assert "new groups of this kind" in card
    assert "resamples of whole groups" in card


@pytest.mark.parametrize("name", ["a|b", "a\nb"])
def test_names_do_not_break_tables(name: str) -> None:
    card = model_card(metrics(label_names=("ok", name)), REGISTRATION, INGEST_REPORT, FACTS)
    rows = card.split("## Data\n\n")[1].split("\n\n")[0].split("\n")
    assert [row.replace("\\|", "").count("|") for row in rows] == [5] * 5


def test_many_classes_are_cut_with_a_count() -> None:
    names = tuple(f"c{number}" for number in range(100))
    facts = replace(FACTS, data_notes=())
    assert "c19 and 80 more" in model_card(metrics(label_names=names), REGISTRATION, INGEST_REPORT, facts)
