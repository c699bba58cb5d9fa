"""The model as MLflow serves it: encoded images in, labels and probabilities out.

MLflow copies this file beside the classifier and runs it ("models from code"), so nothing is pickled. It
knows no Kedro and no run. It takes images by value: a path or URL would let a client read the server's files.
"""

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from pydantic import BaseModel

if TYPE_CHECKING:
    from regraft.classifier import Classifier

_BATCH_SIZE = 32


class EncodedImage(BaseModel):
    """One image to classify: its file (PNG, JPEG, …), base64-encoded."""

    image: str


class Prediction(BaseModel):
    """What an image shows: the likeliest label, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class ServedClassifier(PythonModel):
    """A regraft classifier behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the classifier; called once, before the first prediction."""
        from regraft.classifier import load_classifier

        self._classifier = load_classifier(Path(context.artifacts["classifier"])).for_inference()

    def predict(  # type: ignore[override]  # MLflow reads the schema from these hints
        self, context: PythonModelContext, model_input: list[EncodedImage]
    ) -> list[Prediction]:
        """Classify images; one prediction an image, order kept.

        Raises:
            MlflowException: If there is no image, or some cannot be decoded (all are named): HTTP 400.
        """
        pixels = _prepare_all(self._classifier, [element.image for element in model_input])
        names = self._classifier.label_names
        predictions = []
        for start in range(0, len(pixels), _BATCH_SIZE):
            for row in self._classifier.predict_pixels(np.stack(pixels[start : start + _BATCH_SIZE])):
                probabilities = dict(zip(names, map(float, row), strict=True))
                predictions.append(Prediction(label=names[int(row.argmax())], probabilities=probabilities))
        return predictions


class BadRequestError(MlflowException):
    """A refusal whose text stays what it is: MLflow would put the whole request, images and all, in front."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence
        super().__init__(sentence, error_code=INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        """The sentence."""
        return self._sentence

    @message.setter
    def message(self, text: str) -> None:
        """Ignore what MLflow would make of it."""


def _prepare_all(classifier: "Classifier", encoded: Sequence[str]) -> list[NDArray[np.uint8]]:
    """One image after another, each kept at the size of the network's input: a small file can be a large picture."""
    if not encoded:
        raise BadRequestError('no images; send {"inputs": [{"image": "<base64 of a PNG or JPEG file>"}]}')
    pixels, faults = [], []
    for position, text in enumerate(encoded):
        try:
            pixels.append(classifier.prepare(base64.b64decode(text, validate=True)))
        except binascii.Error:
            faults.append(f"image {position}: not base64 (paths, URLs and data: prefixes are not taken)")
        except ValueError as error:  # cannot be decoded, or not be fitted
            faults.append(f"image {position}: {error}")
    if faults:
        raise BadRequestError("; ".join(faults))
    return pixels


set_model(ServedClassifier())
