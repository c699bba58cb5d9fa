import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from regraft.evaluation import report
from regraft.evaluation.figure_style import house_style, new_figure
from regraft.evaluation.figures import make_figures
from regraft.evaluation.measure import measure
from regraft.evaluation.unfreezing import unfreezing_tables

INGEST_REPORT = {
    "num_listed": 243,
    "num_images": 240,
    "num_unreadable": 1,
    "unreadable": [{"path": "images/<b>013</b>.png", "reason": "truncated file"}],
    "excluded": ["a.txt", "b.txt"],
    "groups": {"num_groups": 12, "smallest": 3},
    "duplicates": [],
    "per_group": {f"mono-{number:02d}": number for number in range(50)},
}
DATA_CARD = {
    "notes": ["val differs from train in <width>."],
    "num_images": {"a": {"train": 1}},
    "imbalance": 2.5,
    "sizes": {"width": {"smallest": 30.0, "median": 300.0, "largest": 3000.0}},
    "drift": [],
}
SEARCHED = {
    "search": [
        {
            "candidate": name,
            "epochs": epochs,
            "val_log_loss": loss,
            "val_calibrated_log_loss": loss - 0.125,
            "val_accuracy": 0.75,
            "worse_than_best": loss - 0.5,
            "worse_than_best_low": loss - 0.6,
            "worse_than_best_high": loss - 0.4,
            "is_final": name != "all",
            "weight": float(name == "last 2"),
        }
        for name, epochs, loss in (("none", 0, 0.625), ("last 2", 4, 0.5), ("all", 2, 0.75))
    ],
    "interpolation": {
        "coefficient": 0.5,
        "rows": [{"coefficient": one, "val_log_loss": 0.5, "val_accuracy": 0.75} for one in (0.0, 0.5, 1.0)],
    },
}
BALANCE = {
    "asked": "auto",
    "chosen": "class_weights",
    "reason": "log-loss on val: none 0.5140, class_weights 0.4650; class_weights is the least",
    "candidates": [
        {
            "balance": name,
            "balanced_log_loss": loss,
            "balanced_accuracy": 0.788,
            "log_loss": 0.3,
            "accuracy": 0.851,
            "excess": loss - 0.465,
            "standard_error": 0.0194 * (loss > 0.465),
        }
        for name, loss in (("none", 0.514), ("class_weights", 0.465))
    ],
}


def estimate(value: float) -> dict[str, dict[str, float]]:
    return {"accuracy": {"value": value, "low": value - 0.01, "high": value + 0.01}}


SPLIT_KINDS = {
    "random": {"probe": estimate(0.86), "group_majority": estimate(0.81), "majority_class": estimate(0.6)},
    "grouped": {"probe": estimate(0.8), "group_majority": estimate(0.6), "majority_class": estimate(0.6)},
    "difference": estimate(0.06),
    "in_use": "grouped",
    "num_images": 2624,
    "num_groups": 44,
    "num_folds": 5,
}
SETTINGS = {
    "fine_tune": {"learning_rate": 3e-4, "stages": ["blocks.5", "head"], "compile": False},
    "seed": None,
}


@pytest.fixture(scope="module")
def page(build_tables: Callable) -> str:
    return render(build_tables())


def render(tables: Any) -> str:
    metrics = measure(*tables, num_resamples=100, confidence=0.95, seed=0)
    pixels = np.zeros((len(tables.manifest), 16, 16, 3), dtype=np.uint8)
    history = [{"epoch": 0, "val_log_loss": 0.4, "val_accuracy": 0.9}]
    figures = make_figures(
        tables.predictions, metrics, head_history=[], fine_tune_history=history, pixels=pixels
    )
    return render_with(metrics, figures)


def render_with(
    metrics: Any, figures: Any, split_kinds: Any = SPLIT_KINDS, *, history: dict[str, Any] = SEARCHED
) -> str:
    with house_style():
        sheet = new_figure(1, 1)
    return report.render_report(
        metrics,
        figures,
        title="solar & cells",
        split_kinds=split_kinds,
        balance=BALANCE,
        fine_tune_history=history,
        data_card=DATA_CARD,
        contact_sheet=sheet,
        ingest_report=INGEST_REPORT,
        settings=SETTINGS,
    )


@pytest.mark.parametrize(("temperature", "is_told"), [(1.374, True), (1.0, False)])
def test_what_was_made_less_sure_is_told_beside_its_calibration(
    build_tables: Callable, temperature: float, is_told: bool
) -> None:
    with house_style():
        figures = {"calibration": new_figure(1, 1)}
    metrics = measure(*build_tables(), num_resamples=100, confidence=0.95, seed=0)
    page = render_with(metrics, figures, history=SEARCHED | {"temperature": temperature})
    assert ("its logits are divided by 1.37;" in page) == is_told


@pytest.mark.parametrize(("weights", "is_told"), [((0.25, 0.75, 0.0), True), ((0.0, 1.0, 0.0), False)])
def test_a_mean_of_models_is_told_beside_the_training_of_one(
    build_tables: Callable, weights: tuple[float, ...], is_told: bool
) -> None:
    with house_style():
        figures = {"training": new_figure(1, 1)}
    metrics = measure(*build_tables(), num_resamples=100, confidence=0.95, seed=0)
    rows = [{**row, "weight": weight} for row, weight in zip(SEARCHED["search"], weights, strict=True)]
    page = render_with(metrics, figures, history=SEARCHED | {"search": rows})
    assert ("is the mean of 2 that were trained" in page) == is_told


class Resources(HTMLParser):
    """What a page would fetch or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = re.findall(r"url\s*\(|@import", page)
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "embed", "base"}:
            self.found.append(tag)
        self.found += [
            f"{name}={value[:60]}"
            for name, value in attributes
            if name in {"src", "href", "srcset", "data", "poster", "action", "background"}
            and value is not None
            and not value.startswith("data:")
        ]


def test_the_page_is_the_same_bytes_each_time_and_fetches_nothing(page: str, build_tables: Callable) -> None:
    assert page == render(build_tables())
    assert Resources(page).found == []
    assert page.count("data:image/png;base64,") == 7


def test_the_search_for_resources_finds_planted_ones() -> None:
    planted = (
        '<img src="http://a.b/c.png"><link href="//cdn/x.css"><script>1</script><style>a{b:url(x)}</style>'
    )
    assert len(Resources(planted).found) == 4


def test_the_page_holds_the_numbers(page: str, tables: Any) -> None:
    metrics = measure(*tables, num_resamples=100, confidence=0.95, seed=0)
    for model in ("probe", "fine_tuned"):
        assert f"{100 * metrics['test'][model]['accuracy']['value']:.1f} %" in page
    for text in ("fine_tune.learning_rate", "0.0003", "blocks.5, head", "truncated file", "Duplicates: none"):
        assert text in page
    assert "and 10 more, in the ingest report" in page
    assert f"<b>{100 * metrics['baselines']['group_majority']['accuracy']['value']:.1f} %</b>" in page


def test_names_from_the_data_are_text_not_html(build_tables: Callable) -> None:
    tables = build_tables(label_names=("<script>alert(1)</script>", 'b"><img src=http://x>'))
    metrics = measure(*tables, num_resamples=100, confidence=0.95, seed=0)
    page = render_with(metrics, {})
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "images/&lt;b&gt;013" in page
    assert "solar &amp; cells" in page
    assert Resources(page).found == []


def estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def made_up(difference: dict[str, float], num_unseen: int) -> dict[str, Any]:
    return {
        "test": {
            "probe": {"accuracy": estimate(0.88, 0.86, 0.9)},
            "fine_tuned": {"accuracy": estimate(0.9, 0.88, 0.92)},
            "difference": {"accuracy": difference},
        },
        "baselines": {
            "majority_class": {"accuracy": estimate(0.6, 0.57, 0.63)},
            "group_majority": {"accuracy": estimate(0.8, 0.78, 0.82), "num_unseen_images": num_unseen},
        },
        "num_images": {"test": 1656},
        "resampling": {"confidence": 0.95},
    }


def test_the_result_in_one_sentence_names_the_baseline_that_is_harder() -> None:
    seen = report.headline(made_up(estimate(0.02, 0.0, 0.04), 3))
    assert seen == (
        "Of 1,656 test images the fine-tuned model gets 90.0 % right (95 % interval 88.0 to 92.0 %), the "
        "probe 88.0 % (86.0 to 90.0); without looking at a pixel, the majority of the image's group "
        "gives 80.0 % (78.0 to 82.0)."
    )
    assert "the most frequent class gives 60.0 %" in report.headline(made_up(estimate(0.02, 0.0, 0.04), 1656))


@pytest.mark.parametrize(
    ("difference", "sentence"),
    [
        (estimate(0.02, 0.003, 0.04), "Fine-tuning helps: +2.0 (+0.3 to +4.0) points"),
        (estimate(-0.02, -0.04, -0.003), "Fine-tuning hurts: −2.0 (−4.0 to −0.3) points"),
        (estimate(0.02, 0.0, 0.04), "cannot be told apart"),
        (estimate(0.0, 0.0, 0.0), "cannot be told apart"),
    ],
)
def test_a_difference_is_claimed_only_where_the_interval_excludes_zero(
    difference: dict[str, float], sentence: str
) -> None:
    assert sentence in report.verdict(made_up(difference, 0))


def test_the_data_card_is_told_in_notes_tables_and_a_contact_sheet(page: str) -> None:
    assert '<p class="note">val differs from train in &lt;width&gt;.</p>' in page
    assert re.search(
        r"<h3>The splits</h3>\s*<div class=\"wide\">\s*<table>\s*<tbody>\s*<tr><td class=\"value\">Imbalance",
        page,
    )
    assert "as the network sees them" in page


def test_warnings_of_ingest_are_the_first_line(
    build_tables: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    torn = "Leak: the given splits put near copies of one image on two sides (1 times): a (test) = b (train)."
    monkeypatch.setitem(INGEST_REPORT, "warnings", [torn])
    body = render(build_tables()).partition("<header>")[2]
    assert body.index(torn) < body.index("<h1>")


def test_what_was_done_about_uneven_classes_is_told_with_its_numbers(page: str) -> None:
    assert "The loss of each image was weighted so that every class counts the same" in page
    assert "Chosen by log-loss on val: none 0.5140" in page
    assert "<th>class weights, chosen</th>" in page
    assert '<td class="number">+0.049 ± 0.019</td>' in page


def test_random_and_grouped_scores_stand_side_by_side(page: str) -> None:
    row = '<tr><th>No pixels: majority of the image&#39;s group</th><td class="number">81.0 % (80.0 to 82.0)</td>'
    assert row + '<td class="number">60.0 % (59.0 to 61.0)</td></tr>' in page
    assert "Splitting at random adds +6.0 points (+5.0 to +7.0)" in page
    assert "Whole groups held out, as in this run" in page
    assert "Images at random</th>" in page


def test_without_groups_no_split_kinds_are_shown(build_tables: Callable) -> None:
    metrics = measure(*build_tables(), num_resamples=100, confidence=0.95, seed=0)
    nothing = {"random": {}, "grouped": {}, "difference": {}, "reason": "no groups"}
    assert "Whole groups held out" not in render_with(metrics, {}, nothing)


def test_the_report_tells_what_the_search_tried_and_what_was_kept(page: str) -> None:
    section = page.partition("<h2>How much was unfrozen</h2>")[2].partition("</section>")[0]
    cells = re.findall(r'<td class="value">(.*?)</td>', section)
    assert cells[:7] == ["none", "0", "0.6250", "0.5000", "75.0 %", "+0.1250 (+0.0250 to +0.2250)", ""]
    assert cells[7:14] == [
        *("last 2", "4", "0.5000", "0.3750", "75.0 %", "+0.0000 (-0.1000 to +0.1000)", "100.0 %")
    ]
    assert cells[20] == "dropped"
    assert cells[21:] == [
        *("0", "0.5000", "75.0 %", ""),
        *("0.5", "0.5000", "75.0 %", "kept"),
        *("1", "0.5000", "75.0 %", ""),
    ]
    assert unfreezing_tables({"rows": []}) == []


def test_uncertain_labels_have_a_section_where_the_source_tells_them(
    page: str, build_tables: Callable
) -> None:
    assert "What uncertain labels allow" not in page
    tables = build_tables()
    certain = np.eye(2)[tables.manifest["label"]]
    soft = np.where(
        np.arange(len(certain))[:, None] % 4 == 0, 2 / 3 * certain + 1 / 3 * (1 - certain), certain
    )
    manifest = tables.manifest.assign(soft_functional=soft[:, 0], soft_defective=soft[:, 1])
    tables = tables._replace(manifest=manifest)
    noise = measure(*tables, num_resamples=100, confidence=0.95, seed=0)["label_noise"]
    section = render(tables).partition("What uncertain labels allow")[2].partition("</section>")[0]
    for kind in ("certain", "uncertain"):
        assert f"{100 * noise[kind]['fine_tuned']['value']:.1f} %" in section
        assert f">{noise[kind]['num_images']}<" in section
    assert f"{100 * noise['ceiling']:.1f} %" in section
    assert 0.87 < noise["ceiling"] < 0.95  # about a quarter of them at 2/3
