"""Choice on val, numbers on test, corrected differences."""

import json
import logging
import re
import shlex
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tried_sample import FACTS

from regraft.adapters.command_parameters import parse_parameters
from regraft.comparing.comparison import compare_models, flat_metrics, plain_table, report_models
from regraft.comparing.differences import holm
from regraft.comparing.figures import comparison_figure
from regraft.comparing.one_label import LabelTask
from regraft.comparing.page import finetune_command, headline, render_comparison, verdict
from regraft.comparing.tried import Tried, Variant, pack, unpack
from regraft.evaluation.figure_style import png_bytes
from regraft.evaluation.intervals import Bootstrap
from regraft.messages import METRICS_LOGGER

BOOTSTRAP = Bootstrap(num_resamples=300, confidence=0.95, seed=0)
NUM_VAL, NUM_TEST = 100, 400
TASK = LabelTask({"label": ["even", "odd"]})
MANIFEST = pd.DataFrame(
    {
        "split": ["train"] * 10 + ["val"] * NUM_VAL + ["test"] * NUM_TEST,
        "label": np.arange(10 + NUM_VAL + NUM_TEST) % 2,
        "group": None,
    }
)


def answers(split: str, num_wrong: int) -> np.ndarray:
    labels = MANIFEST.loc[MANIFEST["split"] == split, "label"].to_numpy().copy()
    labels[:num_wrong] = 1 - labels[:num_wrong]
    return np.eye(2)[labels] * 0.8 + 0.1


def tried(label: str, variant: Variant, val: int, test: int, **facts: Any) -> Tried:
    base = (
        FACTS
        if variant == "probe"
        else {"seconds": 120.0, "cpu_seconds": 200.0, "best_epoch": 3, "expected_seconds": 130.0}
    )
    return Tried(label, variant, {"val": answers("val", val), "test": answers("test", test)}, base | facts)


def compared(*several: Tried, metric: str = "accuracy") -> dict[str, Any]:
    outcomes = {one.label: f"{one.label} was tried." for one in several}
    return compare_models(
        several, MANIFEST, TASK, outcomes=outcomes, selection_metric=metric, bootstrap=BOOTSTRAP
    )


SEVERAL = (
    tried("small", "probe", val=20, test=80, images_per_second=300.0),
    tried("small", "fine_tuned", val=10, test=44),
    tried("large", "probe", val=12, test=40, images_per_second=20.0),
    tried("poor", "probe", val=30, test=120),
)


def test_pixels_that_are_shared_are_paid_once() -> None:
    pixels = {"pixels": "a", "pixels_seconds": 6.0, "pixels_cpu_seconds": 12.0}
    comparison = compared(
        tried("small", "probe", val=20, test=80, **pixels),
        tried("small", "fine_tuned", val=10, test=44),
        tried("large", "probe", val=12, test=40, **pixels),
        tried("poor", "probe", val=30, test=120, **(pixels | {"pixels": "b"})),
    )
    assert comparison["minutes"] == pytest.approx((6 + 24 + 120 + 24 + 6 + 24) / 60)
    assert comparison["cpu_minutes"] == pytest.approx((12 + 48 + 200 + 48 + 12 + 48) / 60)
    assert sum(row["minutes"] for row in comparison["models"]) == pytest.approx((3 * 30 + 120) / 60)


def test_val_chooses_whatever_test_says() -> None:
    comparison = compared(*SEVERAL)
    assert comparison["chosen"] == {"model": "small", "variant": "fine_tuned"}
    assert [row["model"] for row in comparison["models"]] == ["small", "large", "poor"]
    small, large, poor = comparison["models"]
    assert small["val"]["fine_tuned"]["accuracy"]["value"] == pytest.approx(0.9)
    assert small["test"]["fine_tuned"]["accuracy"]["value"] == pytest.approx(0.89)
    assert large["test"]["probe"]["accuracy"]["value"] == pytest.approx(0.9)
    assert small["minutes"] == pytest.approx(2.5)
    assert small["difference"] is None
    assert poor["difference"]["value"] == pytest.approx(-76 / 400)


def test_a_real_difference_is_clear_and_a_small_one_is_not() -> None:
    _, large, poor = compared(*SEVERAL)["models"]
    assert poor["difference"]["is_clear"]
    assert not large["difference"]["is_clear"]
    assert large["difference"]["low"] <= 0 <= large["difference"]["high"]


def test_of_equals_the_probe_then_the_faster_is_chosen() -> None:
    same = compared(
        tried("slow", "probe", val=10, test=40, images_per_second=5.0),
        tried("fast", "probe", val=10, test=40, images_per_second=50.0),
        tried("fast", "fine_tuned", val=10, test=40),
    )
    assert same["chosen"] == {"model": "fast", "variant": "probe"}


def test_fine_tuning_that_did_not_help_is_the_probe() -> None:
    comparison = compared(
        tried("one", "probe", val=10, test=40), tried("one", "fine_tuned", val=9, test=40, best_epoch=0)
    )
    assert comparison["chosen"]["variant"] == "probe"


def test_p_values_are_adjusted_by_holms_method() -> None:
    # By hand: 3 · 0.01, then 2 · 0.02, then 1 · 0.03, which must not fall below 0.04.
    assert holm({"b": 0.02, "a": 0.01, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.04})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_the_same_is_told_as_table_metrics_and_json() -> None:
    comparison = compared(*SEVERAL, metric="log_loss")
    assert json.loads(json.dumps(comparison)) == comparison
    table = plain_table(comparison)
    assert table["model"].tolist() == ["small", "large", "poor"]
    assert table["test_accuracy"].tolist() == pytest.approx([0.89, 0.9, 0.7])
    metrics = flat_metrics(comparison["models"][0])
    assert metrics["test/accuracy"] == metrics["test/fine_tuned/accuracy"] == pytest.approx(0.89)
    assert metrics["test/probe/accuracy"] == pytest.approx(0.8)
    assert metrics["test/fine_tuned/accuracy/low"] < 0.89 < metrics["test/fine_tuned/accuracy/high"]
    assert metrics["num_parameters"] == 3_400_000


def test_each_candidate_and_then_the_chosen_one_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    comparison = compared(*SEVERAL)
    with caplog.at_level(logging.INFO, METRICS_LOGGER):
        report_models(comparison)
    told = [(record.model, record.metrics) for record in caplog.records if hasattr(record, "metrics")]
    assert [model for model, _ in told] == ["small", "large", "poor", None]
    assert told[-1][1] == told[0][1] == flat_metrics(comparison["models"][0])


def test_the_page_says_who_was_chosen_and_what_is_certain() -> None:
    comparison = compared(*SEVERAL)
    figure = comparison_figure(comparison)
    assert png_bytes(figure) == png_bytes(comparison_figure(comparison))
    page = render_comparison(comparison, figure, settings={"compare": {"slack": 0.02}})
    assert headline(comparison).startswith("Chosen on val: small, fine-tuned (accuracy 90.0 %).")
    assert verdict(comparison) == (
        "Surely worse on test: poor. Not to be told apart from it on these images: large."
    )
    assert headline(comparison) in page
    assert "poor was tried." in page
    assert page.count("<b>") == 1, "only the one clear difference is bold"
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page asks nothing of a network"


def test_the_command_names_weights_and_cut_where_the_name_does_not_say_them() -> None:
    whole = compared(tried("one", "probe", val=1, test=1))
    assert finetune_command(whole) == (
        "kedro run --pipeline finetune --params build_backbone.name=efficientnet_lite0"
    )
    weights = {"kind": "file", "path": "mine.pth", "sha256": None}
    cut = compared(
        tried(
            "one", "probe", val=1, test=1, parameters={"name": "vgg16", "weights": weights, "cut": "block3"}
        )
    )
    assert finetune_command(cut) == (
        'kedro run --pipeline finetune --params "build_backbone.name=vgg16,build_backbone.weights={kind: file, path: '
        'mine.pth},build_backbone.cut=block3"'
    )
    parsed = parse_parameters(shlex.split(finetune_command(cut))[-1])
    assert parsed["build_backbone"]["weights"] == {"kind": "file", "path": "mine.pth"}


def test_tried_models_survive_their_file_to_the_bit() -> None:
    packed = pack(SEVERAL)
    again = unpack(packed)
    assert pack(again) == packed
    assert [(one.label, one.variant, one.facts) for one in again] == [
        (one.label, one.variant, one.facts) for one in SEVERAL
    ]
    assert all(
        np.array_equal(one.probabilities[name], other.probabilities[name])
        for one, other in zip(again, SEVERAL, strict=True)
        for name in other.probabilities
    )
    assert unpack(pack([])) == []
