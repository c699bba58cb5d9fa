"""The model of several targets as MLflow serves it: encoded images in, an answer to each target out.

MLflow copies this file beside the classifier and runs it ("models from code"), so nothing is pickled; the targets come
in the model's configuration, for MLflow wants to know what is answered before a classifier is loaded. It knows no Kedro
and no run.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.models import ModelConfig, set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel, create_model

from regraft.adapters.served_images import EncodedImage, predict_encoded


class ClassAnswer(BaseModel):
    """Which class an image is of: the likeliest label, and the probability of each."""

    label: str
    probabilities: dict[str, float]


_ANSWERS: dict[str, Any] = {"classes": ClassAnswer, "number": float, "points": list[list[float]]}


def answers_model(targets: Sequence[Mapping[str, Any]]) -> Any:
    """What an image is answered, a field a target: its name, and its type by its kind."""
    fields: dict[str, Any] = {target["name"]: (_ANSWERS[target["kind"]], ...) for target in targets}
    with warnings.catch_warnings():  # a target may be called as something that BaseModel has: `copy`, `json`
        warnings.filterwarnings("ignore", message="Field name", category=UserWarning)
        return create_model("Answers", **fields)


_CONFIG: Any = ModelConfig()
Answers = answers_model(_CONFIG.get("targets"))


class ServedTargets(PythonModel):
    """A regraft classifier of several targets behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the classifier; called once, before the first prediction."""
        from regraft.classifier import load_classifier

        self._classifier = load_classifier(Path(context.artifacts["classifier"])).for_inference()

    def predict(  # type: ignore[override]  # MLflow reads the schema from these hints
        self, context: PythonModelContext, model_input: list[EncodedImage]
    ) -> list[Answers]:  # type: ignore[valid-type]  # made at run time
        """Answer each target for images, see `said_of`; order kept.

        Raises:
            MlflowException: If there is no image, or some cannot be decoded (all are named): HTTP 400.
        """
        from regraft.classifier.said import said_of
        from regraft.heads.several import SeveralTargets

        target = self._classifier.target
        assert isinstance(target, SeveralTargets), "the registry chose this file by the targets"
        return [Answers(**said_of(target, row)) for row in predict_encoded(self._classifier, model_input)]


set_model(ServedTargets())
