"""`kedro run --pipeline probe`, and the main job with the depth left to it and a head on several stages."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_finetune import kedro_run, root  # noqa: F401  # the copied project is a fixture

from regraft.classifier import load_backbone, load_classifier, load_head


@pytest.mark.slow
def test_depths_are_probed_from_nothing_and_the_main_job_cuts_by_them(root: Path) -> None:  # noqa: F811
    probed = kedro_run(root, "--pipeline", "probe")
    assert probed.code == 0, probed.err
    scores = json.loads((root / "data/08_reporting/depth_scores.json").read_text())
    backbone = load_backbone(root / "data/06_models/backbone.safetensors")
    assert [row["stage"] for row in scores["rows"]] == list(backbone.spec.stages)
    assert [row["concat"]["feature_dim"] for row in scores["rows"]][-1] == sum(backbone.feature_dims.values())
    assert scores["num_images"] == 30
    assert probed.out.count("%") == 2 * len(scores["rows"])
    assert {"data/08_reporting/depth_report.html", "data/08_reporting/figures/depth.png"} <= set(probed.files)
    with sqlite3.connect(root / "mlflow.db") as connection:
        curve = connection.execute(
            "select step, value from metrics where key = 'probe/last/accuracy' order by step"
        ).fetchall()
    assert curve == [(row["step"], row["last"]["accuracy"]["value"]) for row in scores["rows"]]

    features = np.load(root / "data/04_feature/features.npy")
    assert np.load(root / "data/04_feature/view_features.npy", mmap_mode="r").shape == (0, features.shape[1])

    changes = "build_backbone.cut=auto,build_backbone.views=mirror,train_head.features=concat,"
    changes += "fine_tune.unfreeze={last: 1}"
    trained = kedro_run(root, "--pipeline", "finetune", "--params", changes)
    assert trained.code == 0, trained.err
    cut = scores["choice"]["concat"]["stage"]
    stages = backbone.spec.stages_up_to(cut)
    assert f"cut after {cut}" in trained.step("train_head")
    assert trained.files["data/04_feature/features.npy"] == probed.files["data/04_feature/features.npy"]
    mirrored = np.load(root / "data/04_feature/view_features.npy")
    assert mirrored.shape == features.shape
    assert not np.array_equal(mirrored, features)
    classifier = load_classifier(root / "data/06_models/classifier.safetensors")
    assert classifier.stages == stages == tuple(classifier.backbone.stages)
    assert load_head(root / "data/06_models/head.safetensors").stages == stages

    (root / "data/01_raw/shapes/disc/broken.png").write_text("no picture")
    for model in ("data/06_models/classifier.safetensors", "models:/shapes-classifier@champion"):
        changes = f"predict.images=data/01_raw/shapes/disc,predict.model={model}"
        predicted = kedro_run(root, "--pipeline", "predict", "--params", changes)
        assert predicted.code == 0, predicted.err
        assert "20 files predicted, 1 refused" in predicted.step("predict")
        labels = pd.read_csv(root / "data/07_model_output/file_predictions.csv")["label"]
        assert (labels == "disc").mean() > 0.8
    refused = pd.read_csv(root / "data/07_model_output/refused_files.csv")
    assert refused["path"].tolist() == ["data/01_raw/shapes/disc/broken.png"]
    wrong = kedro_run(root, "--pipeline", "predict")
    assert wrong.code != 0
    assert "predict.images: which images?" in wrong.err
