import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from regraft.classifier import Classifier
from regraft.evaluation.predict import predict_images
from regraft.evaluation.predictions import check_predictions
from regraft.training.reproducibility import Compute

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("disc", "square", "cross")
COMPUTE = Compute(torch.device("cpu"), torch.float32, num_streams=1, deterministic=True)


def make_manifest(labels: np.ndarray) -> pd.DataFrame:
    count = len(labels)
    return pd.DataFrame(
        {
            "id": np.arange(count) + 100,
            "path": [f"images/{row}.png" for row in range(count)],
            "sha256": [f"{row:064x}" for row in range(count)],
            "group": None,
            "split": np.array(["train", "test", "val", "test"])[np.arange(count) % 4],
            "label": labels,
            "label_name": np.array(NAMES, dtype=object)[labels],
        }
    )


def test_rows_are_the_models_own_predictions_of_val_and_test(
    make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    pixels, labels = draw_shapes(11)
    manifest = make_manifest(labels)
    models = {"probe": make_probe(), "fine_tuned": make_probe(seed=1)}
    table = predict_images(models, pixels, manifest, batch_size=3, compute=COMPUTE)
    kept = np.flatnonzero(manifest["split"] != "train")
    assert table["model"].tolist() == ["probe"] * len(kept) + ["fine_tuned"] * len(kept)
    for name, model in models.items():
        rows = table[table["model"] == name]
        assert rows["id"].tolist() == manifest["id"].to_numpy()[kept].tolist()
        assert rows["split"].tolist() == manifest["split"].to_numpy()[kept].tolist()
        probabilities = rows[[f"p_{label}" for label in NAMES]].to_numpy()
        # 1e-6: convolutions of float32 over batches of another size
        np.testing.assert_allclose(probabilities, model.predict_pixels(pixels[kept]), rtol=0, atol=1e-6)
        assert (rows["predicted"].to_numpy() == probabilities.argmax(axis=1)).all()
        assert [NAMES[number] for number in rows["predicted"]] == rows["predicted_name"].tolist()
    check_predictions(table, manifest, NAMES)


def test_streams_do_not_change_a_bit(make_probe: Callable[..., Classifier], draw_shapes: Callable) -> None:
    pixels, labels = draw_shapes(11)
    models = {"probe": make_probe(views="mirror"), "fine_tuned": make_probe(seed=1)}
    one, two = (
        predict_images(
            models,
            pixels,
            make_manifest(labels),
            batch_size=2,
            compute=dataclasses.replace(COMPUTE, num_streams=count),
        )
        for count in (1, 2)
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)
