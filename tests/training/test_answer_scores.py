"""Scores of answers to one label, and to several targets."""

import numpy as np
import pytest
import torch

from regraft.heads.numbers import NumbersTarget
from regraft.heads.several import SeveralTargets
from regraft.heads.targets import BinaryTarget
from regraft.training.answer_scores import answer_costs, score_answers
from regraft.training.scoring import cost_of, fit_temperature, score, scores_of, softened

SEX = BinaryTarget(column="sex", label_names=("f", "m"))
AGE = NumbersTarget(kind="number", column="age", mean=(40.0,), scale=(20.0,), noise=(0.5,))
FACE = NumbersTarget(
    kind="points", column="face", mean=(0.5,) * 4, scale=(0.1,) * 4, noise=(0.5, 0.5, 1.0, 2.0)
)
ALL = SeveralTargets(members=(SEX, AGE, FACE))
GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(40, ALL.num_outputs, generator=GENERATOR) * 3
LABELS = torch.cat(
    [
        (torch.arange(40) % 2)[:, None],
        40 + 20 * torch.randn(40, 1, generator=GENERATOR),
        0.5 + 0.1 * torch.randn(40, 4, generator=GENERATOR),
    ],
    dim=1,
)
ANSWERS, TRUE, EVENLY = ALL.answers(LOGITS).numpy(), LABELS.double().numpy(), np.ones(40)


def test_the_costs_of_several_are_their_loss() -> None:
    costs = answer_costs(ALL, ANSWERS, TRUE, EVENLY, metric="log_loss")
    learnt = torch.from_numpy(ALL.learnt(TRUE)).double()
    expected = ALL.loss(LOGITS.double(), learnt, label_smoothing=0.0).item()
    assert costs.mean() == pytest.approx(expected, rel=1e-6)
    assert costs.shape == (40,)


def test_calibration_is_of_classes_alone() -> None:
    labels = TRUE[:, 0].astype(np.int64)
    temperature = fit_temperature(ANSWERS[:, :2], labels, EVENLY)
    assert temperature > 1, "logits of chance are too sure"
    gain = answer_costs(ALL, ANSWERS, TRUE, EVENLY, metric="log_loss") - answer_costs(
        ALL, ANSWERS, TRUE, EVENLY, metric="calibrated_log_loss"
    )
    softer = softened(ANSWERS[:, :2], temperature)
    rows = np.arange(40)
    np.testing.assert_allclose(gain, np.log(softer[rows, labels] / ANSWERS[rows, labels]), atol=1e-9)


def test_a_row_has_what_people_know_of_each_target() -> None:
    weights = np.linspace(0.5, 1.5, 40)
    row = score_answers(ALL, ANSWERS, TRUE, weights)
    assert set(row) == {
        "val_log_loss",
        "val_calibrated_log_loss",
        "val_sex.accuracy",
        "val_age.mean_absolute_error",
        "val_face.mean_distance",
    }
    right = (ANSWERS[:, 1] > 0.5) == TRUE[:, 0]
    assert row["val_sex.accuracy"] == pytest.approx((right * weights).mean())
    assert row["val_age.mean_absolute_error"] == pytest.approx(
        (np.abs(ANSWERS[:, 2] - TRUE[:, 1]) * weights).mean()
    )
    first = np.hypot(*(ANSWERS[:, 3:5] - TRUE[:, 2:4]).T)
    second = np.hypot(*(ANSWERS[:, 5:7] - TRUE[:, 4:6]).T)
    assert row["val_face.mean_distance"] == pytest.approx(((first + second) / 2 * weights).mean())
    assert scores_of({"epoch": 3, "train_loss": 1.0, **row}) == row
    assert cost_of(row, "calibrated_log_loss") == row["val_calibrated_log_loss"] < cost_of(row, "log_loss")


def test_one_label_is_scored_as_ever() -> None:
    labels = TRUE[:, 0].astype(np.int64)
    assert score_answers(SEX, ANSWERS[:, :2], labels, EVENLY) == score(ANSWERS[:, :2], labels, EVENLY)


def test_several_targets_have_no_one_accuracy() -> None:
    with pytest.raises(ValueError, match=r"fine_tune\.selection_metric"):
        answer_costs(ALL, ANSWERS, TRUE, EVENLY, metric="accuracy")
