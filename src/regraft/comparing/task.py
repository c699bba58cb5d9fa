"""What is learnt of an image, and by what answers are judged: all that differs between one label and several targets.

Knows manifests, features and answers; no network, no candidate, no budget.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.classifier.files import Head
from regraft.comparing.one_label import LabelTask
from regraft.comparing.several_targets import TargetsTask
from regraft.comparing.tried import Floats, Tried
from regraft.evaluation.estimates import Measured
from regraft.heads.several import AnyTarget
from regraft.training.fine_tune import Labelled
from regraft.training.linear_probe import SolverSettings


class Judge(Protocol):
    """By what models are ranked, chosen and told apart."""

    @property
    def compared_by(self) -> str:
        """The metric that probes are ranked by, and that differences on test are in: a mean over images."""
        ...

    def selection_metric(self, asked: str) -> str:
        """What chooses on val where `asked` was asked for."""
        ...

    def facts(self) -> dict[str, Any]:
        """What a reader of the numbers must know beside them, JSON-serialisable."""
        ...

    def measured(self, answers: Floats, images: pd.DataFrame) -> dict[str, Measured]:
        """Every metric of answers `(N, A)` to N rows of the manifest."""
        ...

    def image_scores(self, answers: Floats, images: pd.DataFrame) -> Floats:
        """`(N,)`: what `compared_by` is the mean of."""
        ...

    def allowance(self, slack: float, best: float) -> float:
        """`compare.slack` in the unit of `compared_by`, the best probe's score being `best`."""
        ...

    def count_changes(self, changes: Floats) -> dict[str, int]:
        """What there is to be counted of `image_scores` less those of the chosen model, `(N,)`."""
        ...


class Task(Protocol):
    """What is learnt: how a probe is fitted and asked, and whom answers are judged by."""

    @property
    def targets(self) -> Sequence[Mapping[str, Any]]:
        """As `describe_targets` describes them; empty of one label."""
        ...

    @property
    def answer_columns(self) -> list[str]:
        """Columns of answers in the table of `predict_images`, A of them."""
        ...

    def identity(self, manifest: pd.DataFrame) -> str:
        """All of the task and the manifest that a probe follows from, as a text."""
        ...

    def fit(
        self,
        features: NDArray[np.float32],
        feature_dims: Mapping[str, int],
        manifest: pd.DataFrame,
        settings: SolverSettings,
    ) -> tuple[Head, dict[str, Any]]:
        """A solved head on the features `(N, D)` of the deepest stage, and the penalties chosen."""
        ...

    def held_out(
        self, features: NDArray[np.float32], images: pd.DataFrame, settings: SolverSettings
    ) -> Floats:
        """Answers `(N, A)` to every image by a probe that has not learnt from its group.

        Args:
            features: `(N, D)` float32.
            images: N rows of the manifest.
            settings: Folds, and the penalties that each is fitted with.

        Raises:
            ValueError: If the groups cannot be parted so that everything can be learnt in every fold.
        """
        ...

    def labelled(
        self, pixels: NDArray[np.uint8], manifest: pd.DataFrame, split: str, target: AnyTarget
    ) -> Labelled:
        """The images of a split, as `fine_tune` takes them with a probe of that target."""
        ...

    def early_metrics(self, answers: Floats, images: pd.DataFrame) -> dict[str, float]:
        """What can be told of one model before the others are there."""
        ...

    def say_shortfall(self, difference: float, low: float, high: float) -> str:
        """A clause on how far a probe trails the best one, of a difference in `compared_by` and its interval."""
        ...

    def judge(self, probes: Sequence[Tried], manifest: pd.DataFrame) -> Judge:
        """The judge of all models.

        Args:
            probes: Of every candidate, with their answers to images held out.
            manifest: The images.
        """
        ...


def task_for(label_names: dict[str, list[str]], targets: Sequence[Mapping[str, Any]]) -> Task:
    """The task of a manifest.

    Args:
        label_names: The column of the one label, or of what images are split by; its names in order.
        targets: As `describe_targets` describes them; empty of one label.
    """
    return TargetsTask(targets) if targets else LabelTask(label_names)
