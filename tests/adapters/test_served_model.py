import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dirty_files import dirty_files
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, load_model
from served_sample import encode, noise, register, serving

from regraft.classifier import Classifier, load_classifier


@pytest.fixture
def model_folder(root: Path, make_classifier: Callable[[int], bytes], encoded_image: bytes) -> Path:
    """A registered model as MLflow stores it."""
    return register(root, make_classifier(0), encoded_image)


@pytest.fixture
def model(model_folder: Path) -> PyFuncModel:
    return load_model(str(model_folder))


@pytest.fixture
def classifier(model_folder: Path) -> Classifier:
    return load_classifier(model_folder / "artifacts" / "classifier.safetensors")


def test_what_is_served_is_what_the_classifier_says(model: PyFuncModel, classifier: Classifier) -> None:
    images = [noise(seed, "JPEG" if seed % 2 else "PNG") for seed in range(40)]  # more than one batch
    served = model.predict(encode(*images))
    expected = classifier.predict_images(images)
    assert [list(one.probabilities) for one in served] == [["functional", "defective"]] * 40
    found = np.array([list(one.probabilities.values()) for one in served])
    np.testing.assert_allclose(found, expected, atol=1e-5)  # batches of another size round otherwise
    assert [one.label for one in served] == [classifier.label_names[row.argmax()] for row in expected]


def test_bad_images_are_all_named_and_the_request_is_not_repeated(model: PyFuncModel, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(noise(1))
    request = [
        *encode(noise(0), b"", noise(1)[:100], b"no image"),
        {"image": str(secret)},
        {"image": "http://127.0.0.1/x.png"},
    ]
    with pytest.raises(MlflowException) as caught:
        model.predict(request)
    error = caught.value
    assert error.error_code == "INVALID_PARAMETER_VALUE"
    assert "image 0:" not in error.message
    assert [f"image {number}: " in error.message for number in range(1, 6)] == [True] * 5
    assert "image 5: not base64 (paths, URLs and data: prefixes are not taken)" in error.message
    error.message = f"Failed to predict data '{request}'. \nError: {error.message}"  # as MLflow's server does
    assert "Failed to predict" not in error.message


def test_dirty_files_are_served_or_refused_with_the_reason_that_training_gives(model: PyFuncModel) -> None:
    readable = [file for file in dirty_files() if file.reason is None]
    assert len(model.predict(encode(*(file.data for file in readable)))) == len(readable)
    refused = [file for file in dirty_files() if file.reason is not None]
    with pytest.raises(MlflowException) as caught:
        model.predict(encode(*(file.data for file in refused)))
    assert caught.value.message == "; ".join(
        f"image {position}: {file.reason}" for position, file in enumerate(refused)
    )


def test_no_image_is_an_error(model: PyFuncModel) -> None:
    with pytest.raises(MlflowException, match="no images; send"):
        model.predict([])


def test_other_fields_are_refused(model: PyFuncModel) -> None:
    with pytest.raises(MlflowException, match="Field required"):
        model.predict([{"path": "/etc/passwd"}])


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """This environment without regraft: as on a server that has the model's requirements and nothing else."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(
        "import sys\n"
        "import importlib.abc\n"
        "class Refuse(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'regraft' and not any('/code' in entry for entry in sys.path):\n"
        "            raise ModuleNotFoundError(\"No module named 'regraft'\", name='regraft')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.path[:] = [entry for entry in sys.path if not entry.endswith({os.sep + 'src'!r})]\n"
    )
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | {
        "PYTHONPATH": str(tmp_path / "bare"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


@pytest.fixture
def served(model_folder: Path, bare_environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    with serving(model_folder, tmp_path, bare_environment) as address:
        yield address


def post(url: str, content: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, json.dumps(content).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_mlflow_serves_it_where_regraft_is_not_installed(
    served: str, classifier: Classifier, bare_environment: dict[str, str]
) -> None:
    absent = subprocess.run(
        [sys.executable, "-c", "import regraft"],
        env=bare_environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'regraft'" in absent.stderr

    status, answer = post(served, {"inputs": encode(noise(3))})
    assert status == 200
    (prediction,) = answer["predictions"]
    expected = dict(zip(classifier.label_names, classifier.predict_images([noise(3)])[0], strict=True))
    assert prediction["probabilities"] == pytest.approx(expected, abs=1e-5)

    status, answer = post(served, {"inputs": encode(noise(0), b"no image")})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer["message"].startswith("image 1: ")
    assert "stack_trace" not in answer
