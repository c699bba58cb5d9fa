from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from regraft.registry.comparison import Comparison, Making, compare
from regraft.registry.differences import prediction_differences
from regraft.registry.receipt import Receipt

IMAGES = pd.DataFrame(
    {
        "path": ["x/1.png", "x/2.png", "y/3.png"],
        "sha256": ["a", "b", "c"],
        "label": ["x", "x", "y"],
        "group": [None, "g", "g"],
        "split": ["train", "val", "test"],
    }
)
PREDICTIONS = pd.DataFrame({"sha256": ["b", "c"], "predicted_name": ["x", "y"], "p_x": [0.75, 0.25]})


@pytest.fixture
def recorded(make_receipt: Callable[..., Receipt]) -> Making:
    return Making(make_receipt(), IMAGES, PREDICTIONS)


@pytest.fixture
def compare_with(make_receipt: Callable[..., Receipt], recorded: Making) -> Callable[..., Comparison]:
    """The recorded making beside one that differs in something, and in its model if it is said."""

    def compare_with(
        images: pd.DataFrame = IMAGES,
        predictions: pd.DataFrame = PREDICTIONS,
        *,
        was: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Comparison:
        receipt = make_receipt(**changes)
        receipt = receipt.model_copy(update={"result": receipt.result.model_copy(update=result or {})})
        before = Making(recorded.receipt.model_copy(update=was or {}), recorded.images, recorded.predictions)
        return compare(before, Making(receipt, images, predictions))

    return compare_with


OTHER_MODEL = {"classifier_sha256": "d" * 64}
Compare = Callable[..., Comparison]


def test_the_same_making_is_identical_and_nothing_is_told(compare_with: Compare) -> None:
    comparison = compare_with()
    assert comparison.is_identical
    assert comparison.sentences() == []
    table = comparison.table()
    assert [line.split("  ")[0].strip() for line in table] == [
        "code", "lock file", "libraries", "parameters", "images", "weights", "machine", "files", "model",
        "predictions", "metrics",
    ]  # fmt: skip
    assert all(line.endswith("the same") for line in table)
    assert "commit c0ffeec0ffee, 2 files" in table[0]
    assert "3, seed 0" in table[3]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lock_sha256": "e" * 64}, "lock file: The environment is that of another requirements.lock: "
         "was sha256 333333333333, is sha256 eeeeeeeeeeee."),
        ({"lock_sha256": None}, "lock file: The environment is that of another requirements.lock: "
         "was sha256 333333333333, is none."),
        ({"versions": {"torch": "2.15.0", "new": "1"}},
         "libraries: torch was 2.14.1, is 2.15.0; click was 8.2, is none; new was none, is 1."),
        ({"parameters": {"fine_tune": {"rate": 0.2, "seed": 0}, "compute": {"device": "auto"}}},
         "parameters: fine_tune.rate was 0.1, is 0.2."),
        ({"parameters": {"fine_tune": {"rate": 0.1000000000001, "seed": 0}, "compute": {"device": "auto"}}},
         "parameters: fine_tune.rate was 0.1, is 0.1000000000001."),
        ({"machine": {"cpu": "Slow", "cpu_flags": ["avx2"], "precision": "float32"}},
         "machine: cpu_flags: this machine lacks amx_bf16."),
        ({"machine": {"cpu": "Slow", "cpu_flags": ["avx2"], "precision": "float32"}},
         "machine: precision was bfloat16, is float32."),
    ],
)  # fmt: skip
def test_a_cause_is_named_with_both_values(
    compare_with: Compare, changes: dict[str, Any], sentence: str
) -> None:
    comparison = compare_with(**changes, result=OTHER_MODEL)
    assert not comparison.is_identical
    assert sentence in comparison.sentences()
    assert sum(line.endswith("differs") for line in comparison.table()) == 2
    assert "model: The file was sha256 aaaaaaaaaaaa, is sha256 dddddddddddd." in comparison.sentences()


def test_a_cause_without_effect_is_told_and_the_result_is_identical(compare_with: Compare) -> None:
    comparison = compare_with(versions={"torch": "2.14.1", "click": "8.3"})
    assert comparison.is_identical
    assert comparison.sentences() == ["libraries: click was 8.2, is 8.3."]


def test_other_code_is_named_by_file_with_what_was_not_committed(
    compare_with: Compare, recorded: Making
) -> None:
    code = recorded.receipt.code
    changed = code.model_copy(update={"files": {"regraft/a.py": "e" * 64, "regraft/c.py": "f" * 64}})
    dirty = code.model_copy(update={"changed": ("src/regraft/a.py",)})
    assert compare_with(code=changed, was={"code": dirty}).sentences() == [
        "code: 1 file with other content: regraft/a.py.",
        "code: 1 file missing: regraft/b.py.",
        "code: 1 file new: regraft/c.py.",
        "code: The commit is not all that ran: src/regraft/a.py had changes that were not committed.",
    ]


def test_images_are_named_by_what_became_of_them(compare_with: Compare) -> None:
    images = pd.DataFrame(
        {
            "path": ["x/1.png", "x/2.png", "y/4.png"],
            "sha256": ["A", "b", "c"],
            "label": ["x", "y", "y"],
            "group": [None, "h", "g"],
            "split": ["train", "test", "test"],
        }
    )
    assert compare_with(images).sentences() == [
        "images: 1 missing: y/3.png.",
        "images: 1 new: y/4.png.",
        "images: 1 with other bytes: x/1.png.",
        "images: 1 with another label: x/2.png.",
        "images: 1 of another group: x/2.png.",
        "images: 1 in another split: x/2.png.",
    ]


def test_the_first_file_to_differ_is_named(compare_with: Compare) -> None:
    files = {"data/index": "7" * 64, "data/pixels": "0" * 64, "data/head": "0" * 64}
    assert compare_with(files=files).sentences() == [
        "files: 2 of 3 differ, the first being data/pixels; the 1 made before it are the same."
    ]


def test_predictions_are_counted_on_images_that_both_have(compare_with: Compare) -> None:
    predictions = pd.DataFrame(
        {"sha256": ["b", "c", "z"], "predicted_name": ["y", "y", "y"], "p_x": [0.25, 0.25, 0.0]}
    )
    told = compare_with(predictions=predictions, result={"predictions_sha256": "0" * 64}).sentences()
    assert told[:2] == [
        "predictions: Of 2 images predicted both times 1 get another label; probabilities differ by up to 0.5.",
        "predictions: There were 2 images predicted and are 3, 2 of them the same.",
    ]


def test_answers_to_several_targets_are_counted_target_by_target() -> None:
    answers = pd.DataFrame(
        {
            "sha256": ["b", "c"],
            "gender.true": [0, 1],
            "gender.predicted_name": ["female", "male"],
            "gender.p_female": [0.75, 0.25],
            "gender.p_male": [0.25, 0.75],
            "age.true": [30.0, 40.0],
            "age.predicted": [31.0, 42.0],
            "face.true_x0": [0.5, 0.5],
            "face.true_y0": [0.5, 0.5],
            "face.predicted_x0": [0.5, 0.5],
            "face.predicted_y0": [0.5, 0.5],
        }
    )
    now = answers.assign(**{
        "gender.predicted_name": ["male", "male"], "gender.p_female": [0.25, 0.25], "gender.p_male": [0.75, 0.75],
        "age.predicted": [31.5, 42.25],
    })  # fmt: skip
    assert prediction_differences(answers, now) == [
        "Of 2 images predicted both times 1 get another gender (probabilities differ by up to 0.5); 2 get another age "
        "(by up to 0.5); 0 get another face (by up to 0)."
    ]
    assert prediction_differences(answers, now.iloc[:1].drop(columns="age.predicted")) == [
        "Of 1 images predicted both times 1 get another gender (probabilities differ by up to 0.5); age is not told "
        "again; 0 get another face (by up to 0).",
        "There were 2 images predicted and are 1, 1 of them the same.",
    ]


def test_metrics_of_test_come_first_and_ends_of_intervals_last(compare_with: Compare) -> None:
    metrics = {"test/accuracy": 0.5, "test/accuracy/low": 0.25, "val/accuracy": 0.875}
    (told, _) = compare_with(result={"metrics": metrics}).sentences()
    assert told == (
        "metrics: test/accuracy was 0.75, is 0.5; val/accuracy was 1, is 0.875; "
        "test/accuracy/low was 0.5, is 0.25."
    )


def test_the_other_model_being_better_is_told(compare_with: Compare) -> None:
    told = compare_with(result=OTHER_MODEL | {"model": "fine_tuned"}).sentences()
    assert told[0] == "model: The better one on val was probe, is fine_tuned."


def test_a_difference_without_a_cause_is_said_to_be_one(compare_with: Compare) -> None:
    assert (
        compare_with(result=OTHER_MODEL).sentences()[-1].startswith("Nothing that the receipt holds differs")
    )


def test_files_of_unknown_origin_explain_a_difference(compare_with: Compare) -> None:
    last = compare_with(result=OTHER_MODEL, was={"unverified": ("fine_tune",)}).sentences()[-1]
    assert last.startswith("Nothing shows that the recorded code and parameters made")
    assert "fine_tune left it on disk earlier" in last
    assert compare_with(was={"unverified": ("fine_tune",)}).sentences() == []
