"""`kedro run --pipeline audit` as a person uses it: look, correct, run again; processes of their own."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import shapes
from test_finetune import PROJECT, SHAPES, kedro_run

_WRONG = ("cross/03.png", "disc/07.png")  # they are squares
_MOVED = {"cross/03.png": "square/03.png", "disc/07.png": "square/07.png"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with drawn pictures, two of which lie in the wrong folder."""
    root = tmp_path_factory.mktemp("audited")
    shutil.copytree(PROJECT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
    (root / "conf" / "local").mkdir()
    shutil.copy(PROJECT / "pyproject.toml", root)
    shutil.copytree(PROJECT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shapes.draw_shapes(root / SHAPES)
    for wrong, right in _MOVED.items():
        (root / SHAPES / right).replace(root / SHAPES / wrong)
    return root


@pytest.mark.slow
def test_wrong_labels_are_found_corrected_and_not_asked_about_again(root: Path) -> None:
    first = kedro_run(root, "--pipelines", "ingest,normalize,build_backbone,audit")
    assert first.code == 0, first.err
    table = root / "data/08_reporting/label_suggestions.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    assert len(rows) == 58
    by_path = {Path(row["path"]).relative_to(SHAPES).as_posix(): row for row in rows}
    for path in _WRONG:
        assert int(by_path[path]["rank"]) <= 6
        assert by_path[path]["is_issue"] == "True"
        by_path[path]["label"] = "square"
    by_path["square/00.png"] |= {"label": "exclude", "reason": "for the test"}
    by_path["square/01.png"]["label"] = "square"
    corrections = root / "corrections.csv"
    with corrections.open("w", newline="") as file:  # the audit's own file, filled in
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    again = kedro_run(
        root,
        "--pipelines",
        "ingest,normalize,build_backbone,audit",
        "--params",
        f"ingest.corrections={corrections}",
    )
    assert again.code == 0, again.err
    manifest = pd.read_parquet(root / "data/03_primary/manifest.parquet").set_index("path")
    assert len(manifest) == 57
    for path in _WRONG:
        row = manifest.loc[(SHAPES / path).as_posix()]
        assert (row["label_name"], row["source_label"]) == ("square", path.partition("/")[0])
    done = json.loads((root / "data/08_reporting/ingest_report.json").read_text())["corrections"]
    assert (done["num_changed"], done["num_confirmed"], done["num_left_out"]) == (2, 1, 1)
    audit = json.loads((root / "data/08_reporting/label_audit.json").read_text())
    assert audit["num_reviewed"] == 3
    # The new file says all that was decided before: given back, it does the same.
    decided = {row["path"]: row["label"] for row in csv.DictReader(table.open(newline="")) if row["label"]}
    assert decided == {
        (SHAPES / path).as_posix(): label
        for path, label in {
            **dict.fromkeys(_WRONG, "square"), "square/00.png": "exclude", "square/01.png": "square"
        }.items()
    }  # fmt: skip
    before = (root / "data/03_primary/manifest.parquet").read_bytes()
    shutil.copy(table, corrections)
    assert kedro_run(root, "--pipeline", "ingest", "--params", f"ingest.corrections={corrections}").code == 0
    assert (root / "data/03_primary/manifest.parquet").read_bytes() == before
