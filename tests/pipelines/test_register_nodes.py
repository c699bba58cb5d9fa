"""The code in a model card, run; and which decision is taken for which metrics."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from several_sample import several_classifier

from regraft.classifier import Classifier, save_classifier
from regraft.images.preprocessing import Preprocessing
from regraft.options.register import RegisterOptions
from regraft.pipelines.register import nodes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw_shapes: Callable) -> Path:
    """The working folder, with an image in it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw_shapes(1, size=48)[0][0]).save("image.png")
    return tmp_path


def run_beside(classifier: Classifier, code: str) -> None:
    save_classifier(classifier, Path("classifier.safetensors"))
    exec(code, {})


def test_the_card_of_one_label_loads_the_model_and_prints_probabilities(
    folder: Path, make_probe: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    run_beside(make_probe(), nodes._LOADING)
    assert capsys.readouterr().out.startswith("('disc', 'square', 'cross') [[0.")


def test_the_card_of_several_targets_loads_the_model_and_prints_an_answer_to_each(
    folder: Path,
    make_backbone: Callable,
    preprocessing: Preprocessing,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_beside(several_classifier(make_backbone(), preprocessing), nodes._LOADING_SEVERAL)
    told = capsys.readouterr().out
    assert told.startswith("{'gender': {'label': ")
    assert all(f"'{name}': " in told for name in ("age", "face", "hair"))


def test_several_targets_are_decided_by_their_joint_loss() -> None:
    rows = {"sha256": ["a"], "split": ["test"], "group": [None], "age.true": [1.0], "age.predicted": [2.0]}
    predictions = pd.concat([pd.DataFrame(rows).assign(model=model) for model in ("probe", "fine_tuned")])
    error = {"age.mean_absolute_error": {"value": 1.0}}
    metrics = {
        "targets": [{"name": "age", "kind": "number"}],
        "val": {model: {"joint_loss": {"value": 0.5}} for model in ("probe", "fine_tuned")},
        "test": {"probe": error, "fine_tuned": error},
        "baselines": {
            baseline: {"age.mean_absolute_error": {"value": None}}
            for baseline in ("constant", "group", "metadata")
        },
    }
    options = RegisterOptions(
        selection_metric="log_loss", require="better", num_resamples=100, confidence=0.95, seed=0
    )
    decision = nodes.decide_promotion(predictions, metrics, None, options)
    assert decision["selection"]["metric"] == "joint_loss"
    assert (decision["model"], decision["is_promoted"]) == ("probe", True)
