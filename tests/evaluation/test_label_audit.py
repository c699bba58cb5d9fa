import base64
import re
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.evaluation.audit_page import render_audit
from regraft.evaluation.label_audit import (
    SUGGESTION_COLUMNS,
    find_issues,
    suggest_labels,
    summarise_audit,
    with_left_out,
)

LEFT_OUT = {"left_out": [{"path": "</script>.png", "given_label": "ant", "label": "exclude", "reason": None}]}
NAMES = ("ant", "bee", 'wasp "<b>"')


def make_case(num_classes: int = 3, num_rows: int = 300, num_wrong: int = 30) -> dict[str, Any]:
    """Probabilities that are sure of the truth; some labels are not the truth."""
    generator = np.random.default_rng(0)
    truth = np.arange(num_rows) % num_classes
    labels = truth.copy()
    wrong = generator.choice(num_rows, num_wrong, replace=False)
    labels[wrong] = (labels[wrong] + 1) % num_classes
    logits = generator.normal(size=(num_rows, num_classes)) + 4 * np.eye(num_classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    manifest = pd.DataFrame(
        {
            "path": [f"data/{row}.png" for row in range(num_rows)],
            "split": np.array(["train", "val", "test"])[np.arange(num_rows) % 10 % 3],
            "label": labels,
            "label_name": np.array(NAMES, dtype=object)[labels],
        }
    )
    return {"manifest": manifest, "probabilities": probabilities, "wrong": set(wrong), "truth": truth}


@pytest.mark.parametrize("num_classes", [2, 3])
def test_planted_wrong_labels_come_first_with_the_true_one_suggested(num_classes: int) -> None:
    case = make_case(num_classes)
    table = suggest_labels(case["manifest"], NAMES[:num_classes], case["probabilities"])
    assert tuple(table.columns) == SUGGESTION_COLUMNS
    assert table["rank"].tolist() == list(range(1, 301))
    first = table.head(30)
    assert len(set(first.index) & case["wrong"]) >= 27
    hits = first.loc[[row for row in first.index if row in case["wrong"]]]
    assert (hits["suggested_label"] == [NAMES[case["truth"][row]] for row in hits.index]).mean() > 0.9
    assert (table["given_probability"].diff().dropna() >= 0).all()
    assert table["label"].isna().all()
    assert set(table.index[table["is_issue"]]) <= set(
        table.index[table["suggested_label"] != table["given_label"]]
    )


def test_a_reviewed_label_is_no_issue_and_comes_last_with_its_decision() -> None:
    case = make_case()
    doubtful = suggest_labels(case["manifest"], NAMES, case["probabilities"]).index[0]
    manifest = case["manifest"].assign(
        source_label=case["manifest"]["label_name"],
        reviewed_label=pd.Series(dtype="str"),
        reason=pd.Series(dtype="str"),
    )
    manifest.loc[doubtful, ["reviewed_label", "reason"]] = [manifest.loc[doubtful, "label_name"], "seen"]
    table = suggest_labels(manifest, NAMES, case["probabilities"])
    last = table.iloc[-1]
    assert last.name == doubtful
    assert (last["label"], last["reason"], bool(last["is_issue"])) == (
        manifest.loc[doubtful, "label_name"],
        "seen",
        False,
    )
    again = with_left_out(
        table, {"left_out": [{"path": "x.png", "given_label": "ant", "label": "exclude", "reason": None}]}
    )
    assert len(again) == 301
    assert again.iloc[-1]["label"] == "exclude"
    assert with_left_out(table, {}) is table


def test_the_summary_counts_by_split_and_its_interval_holds_the_share() -> None:
    case = make_case()
    table = suggest_labels(case["manifest"], NAMES, case["probabilities"])
    arguments = {"num_resamples": 500, "confidence": 0.95, "seed": 0}
    units = np.arange(300)
    summary = summarise_audit(case["manifest"], table, case["probabilities"], units, **arguments)
    issues = find_issues(case["manifest"]["label"].to_numpy(), case["probabilities"])
    assert summary["num_issues"] == issues.sum() == sum(of["num_issues"] for of in summary["splits"].values())
    share = summary["share"]
    assert share["value"] == issues.mean()
    # a binomial's standard deviation: sqrt(0.1 · 0.9 / 300) = 0.017
    assert share["high"] - share["low"] == pytest.approx(
        2 * 1.96 * np.sqrt(share["value"] * (1 - share["value"]) / 300), rel=0.15
    )
    assert sum(pair["num_issues"] for pair in summary["pairs"]) == summary["num_issues"]
    assert summary == summarise_audit(case["manifest"], table, case["probabilities"], units, **arguments)
    blocks = summarise_audit(case["manifest"], table, case["probabilities"], units // 150, **arguments)
    assert blocks["share"]["value"] == share["value"]
    alone = summarise_audit(case["manifest"], table, case["probabilities"], np.zeros(300, int), **arguments)
    assert alone["share"]["low"] is None  # one unit says nothing of others


def test_the_page_shows_the_first_with_their_pictures_and_escapes_names() -> None:
    case = make_case()
    pixels = np.zeros((300, 40, 40, 3), np.uint8)
    pixels[:, :, :, 0] = (np.arange(300) % 250)[:, None, None]
    table = suggest_labels(case["manifest"], NAMES, case["probabilities"])
    table = with_left_out(
        table,
        {"left_out": [{"path": "</script>.png", "given_label": "ant", "label": "exclude", "reason": None}]},
    )
    summary = summarise_audit(
        case["manifest"],
        table[table["rank"].notna()],
        case["probabilities"],
        np.arange(300),
        num_resamples=100,
        confidence=0.95,
        seed=0,
    )
    page = render_audit(table, summary, NAMES, pixels, limit=7)
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(pictures) == 7
    shown = Image.open(BytesIO(base64.b64decode(pictures[0])))
    assert abs(int(np.asarray(shown)[20, 20, 0]) - table.index[0] % 250) <= 4  # JPEG
    assert page.count("</script>") == 1
    assert "<b>&#34;" not in page
    assert page.count("<select") == 7
    assert page == render_audit(table, summary, NAMES, pixels, limit=7)
    grey = pixels[..., :1]
    of_grey = render_audit(table, summary, NAMES, grey, limit=7)
    assert of_grey != page
    assert of_grey == render_audit(table, summary, NAMES, np.repeat(grey, 3, axis=3), limit=7)
