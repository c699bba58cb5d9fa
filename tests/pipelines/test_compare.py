"""`kedro run --env test --pipeline compare` as a person types it: twice, the second time with one backbone more."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import shapes

PROJECT = Path(__file__).parents[2]
LITE = "{name: efficientnet_lite0, weights: {kind: random, seed: 0}, cut: blocks.3}"
MOBILE = "{name: mobilenet_v3_small, weights: {kind: random, seed: 0}, cut: features.6}"
THIRD = "{name: squeezenet1_1, weights: {kind: random, seed: 0}, cut: features.4}"

pytestmark = pytest.mark.slow


def compare(root: Path, *backbones: str, more: str = "") -> "subprocess.CompletedProcess[str]":
    kept_apart = ("MLFLOW_", "KEDRO_", "DVC_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_apart)}
    return subprocess.run(
        [
            *(sys.executable, "-m", "kedro", "run", "--env", "test", "--pipeline", "compare"),
            *("--params", f"compare.backbones=[{', '.join(backbones)}]{more}"),
        ],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare") / "project"
    root.mkdir()
    for name in ("src", "conf", "pyproject.toml", ".telemetry"):
        source = PROJECT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, root / name)
    shapes.draw_shapes(root / "data" / "01_raw" / "shapes")
    return root


def rows_of(root: Path) -> pd.DataFrame:
    """Runs with their name, status and parent, in the order they began."""
    with sqlite3.connect(f"file:{root / 'mlflow.db'}?mode=ro", uri=True) as connection:
        return pd.read_sql(
            "select runs.run_uuid, runs.name, runs.status, tags.value as parent from runs left join tags "
            "on tags.run_uuid = runs.run_uuid and tags.key = 'mlflow.parentRunId' order by runs.start_time",
            connection,
        )


def probe_losses(folder: Path) -> dict[str, float]:
    models = json.loads((folder / "comparison.json").read_text())["models"]
    return {row["model"]: row["val"]["probe"]["log_loss"]["value"] for row in models}


def test_a_comparison_tries_all_and_another_backbone_is_paid_for_alone(root: Path) -> None:
    first = compare(root, LITE, MOBILE)
    assert first.returncode == 0, first.stderr
    folder = root / "data" / "08_reporting" / "comparison"
    comparison = json.loads((folder / "comparison.json").read_text())
    assert {row["model"] for row in comparison["models"]} == {"efficientnet_lite0", "mobilenet_v3_small"}
    outcomes = [row["outcome"] for row in comparison["models"]]
    assert sum(outcome.startswith("Fine-tuned in") for outcome in outcomes) == 1
    assert sum("compare.max_fine_tuned" in outcome for outcome in outcomes) == 1
    assert "to make the chosen model: kedro run --pipeline finetune --params" in first.stdout
    assert "</html>" in (folder / "comparison.html").read_text()
    rows = rows_of(root)
    parent, *below = rows["run_uuid"]
    assert rows["name"].tolist()[1:] == ["efficientnet_lite0", "mobilenet_v3_small"]
    assert rows["name"][0].startswith("compare-")
    assert rows["parent"].tolist()[1:] == [parent] * len(below)
    assert set(rows["status"]) == {"FINISHED"}

    cache = root / ".regraft" / "compared" / "arrays"
    kept = {path.name: path.stat().st_mtime_ns for path in cache.glob("features-*.npy")}
    table, probes = pd.read_csv(folder / "comparison.csv").set_index("model"), probe_losses(folder)
    second = compare(root, LITE, MOBILE, THIRD)
    assert second.returncode == 0, second.stderr
    again = pd.read_csv(folder / "comparison.csv").set_index("model")
    assert set(again.index) == {*table.index, "squeezenet1_1"}
    assert len(list(cache.glob("features-*.npy"))) == len(kept) + 1
    # Speeds are measured: equal ones were not measured again.
    assert again.loc[table.index, "images_per_second"].tolist() == table["images_per_second"].tolist()
    # Which of them is fine-tuned may change: only one is, and the third may have the best probe.
    assert {model: probe_losses(folder)[model] for model in probes} == probes
    rows = rows_of(root)
    assert rows["parent"].isna().sum() == 2
    assert rows.groupby("parent").size().tolist() in ([2, 3], [3, 2])


def test_several_targets_are_compared_by_their_joint_loss(root: Path) -> None:
    shapes_folder = root / "data" / "01_raw" / "shapes"
    lines = ["path,shape,light,x,y"]
    for path in sorted(shapes_folder.rglob("*.png")):
        pixels = np.asarray(Image.open(path)).astype(float)
        y, x = (places.mean() for places in np.nonzero(pixels.max(axis=2) > 120))
        relative = path.relative_to(shapes_folder).as_posix()
        lines.append(f"{relative},{path.parent.name},{pixels.mean()},{x},{y}")
    (root / "listing.csv").write_text("\n".join(lines))
    source = {
        "kind": "csv",
        "path": "listing.csv",
        "images": "data/01_raw/shapes",
        "targets": {
            "shape": {"kind": "classes", "column": "shape"},
            "light": {"kind": "number", "column": "light"},
            "place": {"kind": "points", "first_column": "x", "last_column": "y", "mirrored": []},
        },
    }
    file = root / "conf" / "test" / "parameters_ingest.yml"
    shipped = file.read_text()
    settings = yaml.safe_load(shipped)
    settings["ingest"]["source"] = source
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    ran = compare(
        root, LITE, MOBILE, more=",build_backbone.pooling=mean_and_grid,build_backbone.views=mirror"
    )
    file.write_text(shipped)
    assert ran.returncode == 0, ran.stderr
    folder = root / "data" / "08_reporting" / "comparison"
    comparison = json.loads((folder / "comparison.json").read_text())
    assert [target["name"] for target in comparison["targets"]] == ["shape", "light", "place"]
    losses = [row["val"][row["variant"]]["joint_loss"]["value"] for row in comparison["models"]]
    assert losses == sorted(losses), "the chosen model first"
    arrays = (root / ".regraft" / "compared" / "arrays").glob("features-*.npy")
    # Channels of the stem and the first four blocks, each with a grid of 7 × 7 places beside their mean
    assert 50 * (32 + 16 + 24 + 40 + 80) in {np.load(path, mmap_mode="r").shape[1] for path in arrays}
    page = (folder / "comparison.html").read_text()
    table = pd.read_csv(folder / "comparison.csv")
    for metric in ("shape.accuracy", "light.mean_absolute_error", "place.mean_distance"):
        assert metric.replace(".", " ").replace("_", " ") in ran.stdout
        assert metric.replace(".", " ").replace("_", " ") in page
        assert f"test_{metric}" in table
    with sqlite3.connect(f"file:{root / 'mlflow.db'}?mode=ro", uri=True) as connection:
        keys = {key for (key,) in connection.execute("select distinct key from metrics")}
    assert {"test/joint_loss", "val/probe/joint_loss/low", "test/light.mean_absolute_error"} <= keys


def test_a_name_that_is_not_there_stops_it_in_the_first_second(root: Path) -> None:
    failed = compare(root, "mobilnet_v2")
    assert failed.returncode == 1
    assert "Did you mean 'mobilenet_v2'" in failed.stderr
