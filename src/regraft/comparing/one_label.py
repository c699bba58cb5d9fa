"""One label as what is learnt: probabilities of its classes, judged by accuracy and by the metric asked for.

Knows manifests, features and probabilities; no network, no candidate, no budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.classifier.files import Head
from regraft.comparing.tried import Floats, Tried
from regraft.evaluation.estimates import Measured
from regraft.evaluation.intervals import measured_classes
from regraft.evaluation.metrics import METRICS, accuracy, check_scores
from regraft.evaluation.predictions import probability_columns
from regraft.heads.layers import LinearLayers
from regraft.heads.several import AnyTarget
from regraft.images.soft_labels import WEIGHT
from regraft.training.depth import probe_depths
from regraft.training.fine_tune import Labelled, labelled
from regraft.training.head import fit_head
from regraft.training.linear_probe import SolverSettings
from regraft.training.units import units_of


@dataclass(frozen=True)
class LabelTask:
    """See `Task`.

    Attributes:
        label_names: The label's column in the manifest, and its names in the order of their numbers.
    """

    label_names: dict[str, list[str]]

    @property
    def targets(self) -> Sequence[Mapping[str, Any]]:
        """None."""
        return ()

    @property
    def answer_columns(self) -> list[str]:
        """A column a name."""
        return probability_columns(self.label_names[self._column])

    @property
    def _column(self) -> str:
        return next(iter(self.label_names))

    def identity(self, manifest: pd.DataFrame) -> str:
        """See `Task`."""
        optional = [column for column in ("copy_group", WEIGHT) if column in manifest]
        table = manifest[["split", self._column, "group", *optional]].to_csv(index=False)
        return f"{self.label_names} {table}"

    def fit(
        self,
        features: NDArray[np.float32],
        feature_dims: Mapping[str, int],
        manifest: pd.DataFrame,
        settings: SolverSettings,
    ) -> tuple[Head, dict[str, Any]]:
        """See `Task`; `penalty` is a number."""
        head, history = fit_head(
            features, feature_dims, manifest, self.label_names, layers=LinearLayers(), settings=settings
        )
        return head, {"penalty": float(history["summary"]["penalty"])}

    def held_out(
        self, features: NDArray[np.float32], images: pd.DataFrame, settings: SolverSettings
    ) -> Floats:
        """See `Task`; 1 / K where no fold that holds a row out leaves every class to learn from."""
        num_classes = len(self.label_names[self._column])
        probe, *_ = probe_depths(
            features,
            {"cut": features.shape[1]},
            _labels(images, self._column),
            num_classes=num_classes,
            groups=units_of(images),
            settings=settings,
        )
        found = probe.probabilities
        return np.where(np.isnan(found), 1 / num_classes, found)

    def labelled(
        self, pixels: NDArray[np.uint8], manifest: pd.DataFrame, split: str, target: AnyTarget
    ) -> Labelled:
        """See `Task`; classes count as they come."""
        return labelled(pixels, manifest, split, self._column)

    def early_metrics(self, answers: Floats, images: pd.DataFrame) -> dict[str, float]:
        """Accuracy."""
        return {"accuracy": accuracy(answers, _labels(images, self._column))}

    def say_shortfall(self, difference: float, low: float, high: float) -> str:
        """See `Task`; in points of accuracy."""
        return (
            f"it trails the best probe by {-100 * difference:.1f} points on held-out images, by {-100 * high:.1f} at "
            "least"
        )

    def judge(self, probes: Sequence[Tried], manifest: pd.DataFrame) -> "LabelJudge":
        """See `Task`; it follows from no probe."""
        return LabelJudge(self._column)


@dataclass(frozen=True)
class LabelJudge:
    """See `Judge`.

    Attributes:
        column: Of label numbers.
    """

    column: str

    @property
    def compared_by(self) -> str:
        """Accuracy."""
        return "accuracy"

    def selection_metric(self, asked: str) -> str:
        """What is asked for."""
        return asked

    def facts(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def measured(self, answers: Floats, images: pd.DataFrame) -> dict[str, Measured]:
        """All of `METRICS`."""
        labels = _labels(images, self.column)
        check_scores(answers, labels)
        return {metric: measured_classes(metric, answers, labels) for metric in METRICS}

    def image_scores(self, answers: Floats, images: pd.DataFrame) -> Floats:
        """1 where the most probable class is the label, else 0."""
        is_right: Floats = (answers.argmax(axis=1) == _labels(images, self.column)).astype(np.float64)
        return is_right

    def allowance(self, slack: float, best: float) -> float:
        """The slack, a fraction of all images."""
        return slack

    def count_changes(self, changes: Floats) -> dict[str, int]:
        """Images that only the one, or only the chosen model, gets right."""
        return {
            "num_only_right": int((changes > 0).sum()),
            "num_only_chosen_right": int((changes < 0).sum()),
        }


def _labels(images: pd.DataFrame, column: str) -> NDArray[np.int64]:
    return images[column].to_numpy(np.int64)
