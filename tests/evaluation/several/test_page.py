"""What the report says of several targets."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from regraft.evaluation.contact_sheet import contact_sheet
from regraft.evaluation.estimate_texts import difference_text, interval_text, number_text
from regraft.evaluation.figures import make_figures
from regraft.evaluation.report import render_report
from regraft.evaluation.several import page as told

NOTHING_BALANCED = {
    "asked": "none",
    "chosen": "none",
    "reason": "asked for",
    "class_weights": {},
    "candidates": [],
}
EPOCHS = [{"epoch": 0, "val_log_loss": 2.0, "val_age.mean_absolute_error": 7.0}]


def render(several: Any, pixels: NDArray[np.uint8], history: dict[str, Any]) -> str:
    metrics = several.measure()
    return render_report(
        metrics,
        make_figures(several.predictions, metrics, head_history=[], fine_tune_history=EPOCHS, pixels=pixels),
        title="faces",
        split_kinds={"random": {}, "grouped": {}, "difference": {}, "reason": "for one label only"},
        balance=NOTHING_BALANCED,
        fine_tune_history=history,
        data_card={"notes": []},
        contact_sheet=contact_sheet(several.manifest, several.label_names, pixels),
        ingest_report={},
        settings={},
    )


@pytest.fixture(scope="module")
def page(several: Any, pixels: NDArray[np.uint8]) -> str:
    return render(several, pixels, {"rows": EPOCHS, "temperatures": {"gender": 1.374}})


def test_the_page_holds_every_metric_under_its_target(several: Any, page: str) -> None:
    metrics = several.measure()
    table = page.partition("<h2>Probe and fine-tuned model</h2>")[2].partition("</section>")[0]
    headings = re.findall(r'colspan="6" style[^>]*>(.*?)</th>', table)
    assert headings == ["gender", "age", "face, of the image&#39;s side", "all targets"]
    assert table.count('<th class="metric">') == len(metrics["test"]["probe"])
    for name, estimate in metrics["test"]["fine_tuned"].items():
        assert interval_text(estimate, name) in table
    assert page.count("data:image/png;base64,") == 7


def test_what_is_about_one_label_only_is_left_out(several: Any, page: str) -> None:
    assert "Whole groups held out" not in page
    assert "<h2>gender: each class on test</h2>" in page
    assert "<h2>Each class on test</h2>" not in page
    assert "Images by stratum and split" in page
    assert page.count("each class on test") == 1


def test_what_needs_no_pixel_is_a_table(several: Any, page: str) -> None:
    table = page.partition("<h2>Without looking at a pixel</h2>")[2].partition("</section>")[0]
    baselines = several.measure()["baselines"]
    for baseline in ("constant", "group", "metadata"):
        metric = "age.mean_absolute_error"
        assert interval_text(baselines[baseline][metric], metric) in table


def test_a_temperature_is_told_of_the_target_it_is_of(
    several: Any, pixels: NDArray[np.uint8], page: str
) -> None:
    assert "so logits are divided: gender by 1.37;" in page
    assert "logits are divided" not in render(several, pixels, {"temperatures": {"gender": 1.0}})


def test_a_page_without_classes_has_no_section_of_classes(several: Any, pixels: NDArray[np.uint8]) -> None:
    numbers = several._replace(targets=several.targets[1:])
    assert "each class on test" not in render(numbers, pixels, {"rows": EPOCHS})


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def made_up(age: dict[str, float], sex: dict[str, float]) -> dict[str, Any]:
    names = ("age.mean_absolute_error", "sex.accuracy")
    both = dict(zip(names, (estimate(5.123, 4.9, 5.3), estimate(0.9, 0.88, 0.92)), strict=True))
    return {
        "targets": [{"name": "age", "kind": "number"}, {"name": "sex", "kind": "classes"}],
        "test": {
            "probe": both,
            "fine_tuned": both | {"age.mean_absolute_error": estimate(4.0, 3.75, 4.25)},
            "difference": dict(zip(names, (age, sex), strict=True))
            | {"joint_loss": estimate(0.1, -0.1, 0.3)},
        },
        "baselines": {
            "constant": {"age.mean_absolute_error": {"value": 12.5}, "sex.accuracy": {"value": 0.6}}
        },
        "num_images": {"test": 1656},
        "resampling": {"confidence": 0.95},
    }


def test_a_lower_error_helps_and_a_lower_accuracy_hurts() -> None:
    down = made_up(estimate(-1.123, -1.5, -0.8), estimate(-0.02, -0.03, -0.01))
    assert told.verdict(down) == (
        "age: fine-tuning helps, −1.12 (−1.50 to −0.80) in mean absolute error. sex: fine-tuning hurts, −2.0 (−3.0 to "
        "−1.0) points of accuracy. All together: the two cannot be told apart, a difference of +0.100 (−0.100 to "
        "+0.300) in joint loss."
    )
    up = told.verdict(made_up(estimate(1.1, 0.8, 1.5), estimate(0.02, 0.01, 0.03)))
    assert "age: fine-tuning hurts" in up
    assert "sex: fine-tuning helps" in up
    assert "age: the two cannot be told apart" in told.verdict(
        made_up(estimate(0.0, 0.0, 0.0), estimate(0.0, 0.0, 0.0))
    )


def test_of_many_targets_it_is_counted_which_fine_tuning_helps() -> None:
    helped, hurt, unclear = (estimate(value, value - 0.1, value + 0.1) for value in (-0.5, 0.5, 0.0))
    few = made_up(helped, hurt)
    of_name = {f"mark_{place}": (helped, helped, hurt, unclear)[place % 4] for place in range(12)}
    metrics = few | {
        "targets": [{"name": name, "kind": "number"} for name in of_name],
        "test": {
            **{
                model: {f"{name}.mean_absolute_error": estimate(5.0, 4.0, 6.0) for name in of_name}
                for model in ("probe", "fine_tuned")
            },
            "difference": {f"{name}.mean_absolute_error": found for name, found in of_name.items()}
            | {"joint_loss": helped},
        },
        "baselines": {"constant": {f"{name}.mean_absolute_error": {"value": 9.0} for name in of_name}},
    }
    assert told.verdict(metrics).startswith(
        "Fine-tuning helps 6 of 12 targets and hurts 3 (mark_2, mark_6, mark_10); of the others the two models cannot"
    )
    assert told.headline(metrics).endswith("4 more targets are in the table.")
    assert len(told.tiles(metrics)) == 8


def test_the_result_in_one_sentence_names_each_target() -> None:
    assert told.headline(made_up(estimate(0, 0, 0), estimate(0, 0, 0))) == (
        "On 1,656 test images (95 % intervals in brackets): age, mean absolute error 4.00 (3.75 to 4.25) fine-tuned, "
        "5.12 (4.90 to 5.30) by the probe, 12.5 without looking at a pixel (the median); sex, accuracy 90.0 % (88.0 to "
        "92.0) fine-tuned, 90.0 % (88.0 to 92.0) by the probe, 60.0 % without looking at a pixel (the most frequent "
        "class)."
    )


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.873, "sex.accuracy", "87.3 %"),
        (0.02147, "face.mean_distance", "2.15 %"),
        (123456.7, "price.mean_absolute_error", "123,457"),
        (0.000123, "size.mean_absolute_error", "0.000123"),
        (0.0, "size.mean_absolute_error", "0.000"),
        (0.9123, "size.r2", "0.912"),
        (-0.557, "size.r2", "−0.557"),
        (None, "size.r2", "–"),
    ],
)
def test_numbers_show_three_digits_that_count(value: float | None, metric: str, text: str) -> None:
    assert number_text(value, metric) == text


def test_an_interval_has_the_decimals_of_its_value() -> None:
    metric = "price.mean_absolute_error"
    assert interval_text(estimate(10.25, 9.5, 11), metric) == "10.2 (9.5 to 11.0)"
    assert difference_text(estimate(-0.5, -12.25, 1.0), metric) == "−0.5 (−12.2 to +1.0)"
