"""Images as a request to MLflow's server holds them, and how a request is refused.

Knows the request and a classifier's way of preparing an image; not what is answered. It takes images by value: a path
or URL would let a client read the server's files.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from numpy.typing import NDArray
from pydantic import BaseModel

if TYPE_CHECKING:
    from regraft.classifier import Classifier

_BATCH_SIZE = 32


class EncodedImage(BaseModel):
    """One image to classify: its file (PNG, JPEG, …), base64-encoded."""

    image: str


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


def predict_encoded(
    classifier: "Classifier", images: Sequence[EncodedImage]
) -> Iterator[NDArray[np.float64]]:
    """Yield a row `(A,)` of answers an image, order kept.

    Raises:
        BadRequestError: If there is no image, or some cannot be decoded (all are named).
    """
    pixels = _prepare_all(classifier, [element.image for element in images])
    for start in range(0, len(pixels), _BATCH_SIZE):
        yield from classifier.predict_pixels(np.stack(pixels[start : start + _BATCH_SIZE]))


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
