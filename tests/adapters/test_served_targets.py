"""A model of several targets, registered and served by MLflow as it serves one of a single label."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, load_model
from served_sample import encode, noise, register, serving
from several_sample import TARGETS, several_classifier

from regraft.classifier import Classifier, classifier_bytes, load_classifier
from regraft.classifier.said import said_of
from regraft.images.preprocessing import Preprocessing


@pytest.fixture
def model_folder(
    root: Path, make_backbone: Callable, preprocessing: Preprocessing, encoded_image: bytes
) -> Path:
    """A registered model of several targets as MLflow stores it."""
    classifier = several_classifier(make_backbone(), preprocessing)
    return register(root, classifier_bytes(classifier), encoded_image, TARGETS)


@pytest.fixture
def model(model_folder: Path) -> PyFuncModel:
    return load_model(str(model_folder))


@pytest.fixture
def classifier(model_folder: Path) -> Classifier:
    """As it is served."""
    return load_classifier(model_folder / "artifacts" / "classifier.safetensors").for_inference()


def in_row(answer: dict[str, Any]) -> list[float]:
    """Numbers of an answer, in the order in which the classifier has them."""
    return [
        *answer["gender"]["probabilities"].values(),
        answer["age"],
        *(number for point in answer["face"] for number in point),
        *answer["hair"]["probabilities"].values(),
    ]


def test_what_is_served_is_what_the_classifier_says(model: PyFuncModel, classifier: Classifier) -> None:
    images = [noise(seed) for seed in range(40)]  # more than one batch
    served = [answer.model_dump() for answer in model.predict(encode(*images))]
    expected = classifier.predict_images(images)
    assert expected.std(axis=0).min() > 1e-4  # the images are told apart
    # 1e-12: the same float32 outputs, in batches of the same sizes
    np.testing.assert_allclose([in_row(answer) for answer in served], expected, rtol=0, atol=1e-12)
    assert served == [said_of(classifier.target, row) for row in expected]  # type: ignore[arg-type]
    assert list(served[0]) == ["gender", "age", "face", "hair"]


def test_each_target_has_its_type_in_the_signature(model_folder: Path) -> None:
    signature = (model_folder / "MLmodel").read_text()
    outputs = json.loads(signature.split("outputs: '")[1].split("'")[0].replace("\n", ""))
    types = outputs[0]["properties"] if "properties" in outputs[0] else outputs[0]["type"]
    assert types["age"]["type"] == "double"
    assert types["face"] == {
        "type": "array",
        "items": {"type": "array", "items": {"type": "double"}},
        "required": True,
    }
    assert types["gender"]["properties"]["label"]["type"] == "string"
    assert types["gender"]["properties"]["probabilities"]["values"] == {"type": "double"}


def test_bad_images_are_named(model: PyFuncModel) -> None:
    with pytest.raises(MlflowException, match=r"^image 1: .*; image 2: not base64"):
        model.predict([*encode(noise(0), b"no image"), {"image": "/etc/passwd.png"}])
    with pytest.raises(MlflowException, match="no images; send"):
        model.predict([])


@pytest.fixture
def served(model_folder: Path, tmp_path: Path) -> Iterator[str]:
    with serving(model_folder, tmp_path, os.environ) as address:
        yield address


@pytest.mark.slow
def test_mlflow_serves_an_answer_to_each_target(served: str, classifier: Classifier) -> None:
    body = json.dumps({"inputs": encode(noise(3), noise(4))}).encode()
    request = urllib.request.Request(served, body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        predictions = json.load(answer)["predictions"]
    rows = classifier.predict_images([noise(3), noise(4)])
    # 1e-12 of the numbers themselves: they travel as decimals
    np.testing.assert_allclose([in_row(one) for one in predictions], rows, rtol=1e-12, atol=1e-12)
    assert predictions[0]["hair"]["label"] == ("black", "brown", "none")[rows[0, 9:].argmax()]
