"""Several targets as what is learnt: classes, numbers and points side by side, judged by their joint loss.

Knows manifests, features and answers; no network, no candidate, no budget.
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
from regraft.evaluation.several.depths import held_out_answers
from regraft.evaluation.several.scores import (
    JOINT_LOSS,
    loss_units,
    measure_target,
    measure_targets,
)
from regraft.heads.several import AnyTarget, SeveralTargets
from regraft.images.manifest import TARGET
from regraft.images.soft_labels import WEIGHT
from regraft.images.target_columns import manifest_columns
from regraft.training.depth import depth_folds
from regraft.training.fine_tune import Labelled, labelled_several
from regraft.training.linear_probe import SolverSettings
from regraft.training.several_head import fit_several_head, strata_of
from regraft.training.target_answers import answers_by_target, headline_metric, said_columns, true_by_target
from regraft.training.target_losses import image_losses
from regraft.training.units import units_of


@dataclass(frozen=True)
class TargetsTask:
    """See `Task`.

    Attributes:
        targets: As `describe_targets` describes them, in the order of their answers.
    """

    targets: Sequence[Mapping[str, Any]]

    @property
    def answer_columns(self) -> list[str]:
        """Those of all targets, in the layout of `SeveralTargets.answers` of `heads`."""
        return [column for target in self.targets for column in said_columns(target)]

    def identity(self, manifest: pd.DataFrame) -> str:
        """See `Task`; `label` is what folds are balanced by."""
        own = [column for target in self.targets for column in manifest_columns(target)]
        optional = [column for column in ("copy_group", WEIGHT) if column in manifest]
        table = manifest[["split", "group", TARGET, *optional, *own]].to_csv(index=False)
        return f"{list(self.targets)} {table}"

    def fit(
        self,
        features: NDArray[np.float32],
        feature_dims: Mapping[str, int],
        manifest: pd.DataFrame,
        settings: SolverSettings,
    ) -> tuple[Head, dict[str, Any]]:
        """See `Task`; `penalties` are by target."""
        head, history, _ = fit_several_head(features, feature_dims, manifest, self.targets, settings=settings)
        of_target = history["summary"]["targets"]
        return head, {"penalties": {name: float(told["penalty"]) for name, told in of_target.items()}}

    def held_out(
        self, features: NDArray[np.float32], images: pd.DataFrame, settings: SolverSettings
    ) -> Floats:
        """See `Task`."""
        strata = strata_of(images, self.targets)
        folds = depth_folds(strata, units_of(images), len(np.unique(strata)), settings)
        true = true_by_target(images, self.targets)
        said = [
            held_out_answers(features, true[target["name"]], target, folds, settings)
            for target in self.targets
        ]
        return np.concatenate([one.reshape(len(images), -1) for one in said], axis=1)

    def labelled(
        self, pixels: NDArray[np.uint8], manifest: pd.DataFrame, split: str, target: AnyTarget
    ) -> Labelled:
        """See `Task`."""
        assert isinstance(target, SeveralTargets)
        return labelled_several(pixels, manifest, split, self.targets, target)

    def early_metrics(self, answers: Floats, images: pd.DataFrame) -> dict[str, float]:
        """The headline metric of each target; the joint loss needs a unit that follows from all probes."""
        true, said = true_by_target(images, self.targets), answers_by_target(answers, self.targets)
        found = {}
        for target in self.targets:
            name, metric = target["name"], headline_metric(target)
            measured = measure_target(target, true[name], said[name])
            found[metric] = measured[metric.rpartition(".")[2]].value
        return found

    def say_shortfall(self, difference: float, low: float, high: float) -> str:
        """See `Task`; in nats of joint loss."""
        return f"its joint loss on held-out images is {difference:.3f} nats above the best probe's, {low:.3f} at least"

    def judge(self, probes: Sequence[Tried], manifest: pd.DataFrame) -> "TargetsJudge":
        """See `Task`.

        The squared error of a number or of points that costs half a nat is one for all models: the least of all probes
        on images held out.
        """
        seen = manifest[manifest["split"].isin(("train", "val"))]
        true = true_by_target(seen, self.targets)
        errors = [
            loss_units(true, answers_by_target(probe.probabilities["held_out"], self.targets), self.targets)
            for probe in probes
        ]
        return TargetsJudge(self.targets, {name: min(one[name] for one in errors) for name in errors[0]})


@dataclass(frozen=True)
class TargetsJudge:
    """See `Judge`.

    Attributes:
        targets: As `describe_targets` describes them.
        units: By target of numbers or points the squared error that costs half a nat.
    """

    targets: Sequence[Mapping[str, Any]]
    units: Mapping[str, float]

    @property
    def compared_by(self) -> str:
        """The joint loss."""
        return JOINT_LOSS

    def selection_metric(self, asked: str) -> str:
        """The joint loss, whatever is asked for: several targets have no one accuracy, and numbers no log-loss."""
        return JOINT_LOSS

    def facts(self) -> dict[str, Any]:
        """The targets, and the units of their losses."""
        return {"targets": [dict(target) for target in self.targets], "loss_units": dict(self.units)}

    def measured(self, answers: Floats, images: pd.DataFrame) -> dict[str, Measured]:
        """See `measure_targets`."""
        true, said = true_by_target(images, self.targets), answers_by_target(answers, self.targets)
        return measure_targets(true, said, self.targets, self.units)

    def image_scores(self, answers: Floats, images: pd.DataFrame) -> Floats:
        """The sum over the targets of what each image costs, in nats."""
        true, said = true_by_target(images, self.targets), answers_by_target(answers, self.targets)
        losses = image_losses(true, said, self.targets, self.units)
        return sum(losses.values(), np.zeros(len(images)))

    def allowance(self, slack: float, best: float) -> float:
        """The slack as a fraction of the best probe's joint loss."""
        return slack * best

    def count_changes(self, changes: Floats) -> dict[str, int]:
        """Nothing: hardly an image costs the same by two models."""
        return {}
