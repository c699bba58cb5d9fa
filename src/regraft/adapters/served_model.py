"""The model as MLflow serves it: encoded images in, labels and probabilities out.

MLflow copies this file beside the classifier and runs it ("models from code"), so nothing is pickled. It
knows no Kedro and no run.
"""

from pathlib import Path

from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from pydantic import BaseModel

from regraft.adapters.served_images import EncodedImage, predict_encoded


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
        names = self._classifier.label_names
        return [
            Prediction(
                label=names[int(row.argmax())], probabilities=dict(zip(names, row.tolist(), strict=True))
            )
            for row in predict_encoded(self._classifier, model_input)
        ]


set_model(ServedClassifier())
