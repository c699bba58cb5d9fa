"""Numbers, and several targets side by side."""

import math

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from regraft.classifier.views import apply_view
from regraft.heads.numbers import NumbersTarget, points_as_they_are, points_in
from regraft.heads.several import SeveralTargets, Target, as_it_is, labels_in
from regraft.heads.targets import BinaryTarget, MulticlassTarget

AGE = NumbersTarget(kind="number", column="age", mean=(40.0,), scale=(20.0,), noise=(0.5,))
FACE = NumbersTarget(
    kind="points", column="face", mean=(0.4, 0.5) * 2, scale=(0.1, 0.2) * 2, noise=(0.5, 1.0) * 2
)
SEX = BinaryTarget(column="sex", label_names=("f", "m"))
HAIR = MulticlassTarget(column="hair", label_names=("fair", "dark", "none"))
ALL = SeveralTargets(members=(SEX, AGE, HAIR, FACE))


def test_a_number_costs_half_its_squared_error_in_units_of_the_noise() -> None:
    # 55 years are 0.75 deviations above the mean, output 0.25: 0.5 deviations off, one noise.
    label = torch.tensor(AGE.learnt(np.array([[55.0]])))
    assert label.tolist() == [[0.75]]
    assert AGE.losses(torch.tensor([[0.25]]), label, label_smoothing=0.1).tolist() == [0.5]
    assert AGE.answers(torch.tensor([[0.25]])).tolist() == [[45.0]]


def test_points_cost_the_mean_over_their_coordinates() -> None:
    truth = torch.tensor([[0.4, 0.5, 0.4, 0.5]])
    # One coordinate of four is one noise off (0.5), another two (2.0).
    outputs = torch.tensor([[0.5, 0.0, 0.0, 2.0]])
    assert FACE.losses(outputs, truth, label_smoothing=0).item() == pytest.approx((0.5 + 2.0) / 4)
    assert FACE.answer_names == ("face.x0", "face.y0", "face.x1", "face.y1")


def test_the_loss_of_several_is_the_sum_of_the_losses_of_each() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, ALL.num_outputs, generator=generator)
    sex, hair = torch.arange(6) % 2, torch.arange(6) % 3
    age, face = torch.randn(6, 1, generator=generator), torch.rand(6, 4, generator=generator)
    labels = torch.cat([sex[:, None], age, hair[:, None], face], dim=1)
    weights = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    expected = (
        SEX.loss(logits[:, :1], sex, label_smoothing=0.1, weights=weights)
        + (AGE.losses(logits[:, 1:2], age, label_smoothing=0.1) * weights).mean()
        + HAIR.loss(logits[:, 2:5], hair, label_smoothing=0.1, weights=weights)
        + (FACE.losses(logits[:, 5:], face, label_smoothing=0.1) * weights).mean()
    )
    torch.testing.assert_close(ALL.loss(logits, labels, label_smoothing=0.1, weights=weights), expected)


def test_what_is_learnt_of_a_number_with_a_large_offset_keeps_its_digits() -> None:
    clock = NumbersTarget(kind="number", column="clock", mean=(1.7e9,), scale=(20.0,), noise=(0.5,))
    several = SeveralTargets(members=(SEX, clock, FACE))
    labels = np.array([[1, 1.7e9 + 3, 0.1, 0.2, 0.3, 0.4], [0, 1.7e9 - 7, 0.5, 0.6, 0.7, 0.8]])
    learnt = several.learnt(labels)
    assert learnt.dtype == np.float32
    np.testing.assert_allclose(learnt[:, 1], [0.15, -0.35], rtol=1e-6)
    np.testing.assert_allclose(learnt[:, [0, 2, 3, 4, 5]], labels[:, [0, 2, 3, 4, 5]], rtol=1e-6)


def test_answers_stand_side_by_side_under_their_names() -> None:
    logits = torch.zeros(2, ALL.num_outputs)
    answers = dict(zip(ALL.answer_names, ALL.answers(logits).T.tolist(), strict=True))
    assert answers["sex=m"] == [0.5, 0.5]
    assert answers["hair=none"] == pytest.approx([1 / 3] * 2)
    assert answers["age"] == [40.0, 40.0]
    assert answers["face.y1"] == [0.5, 0.5]


def test_a_gradient_reaches_the_outputs_of_every_target() -> None:
    logits = torch.zeros(3, ALL.num_outputs, requires_grad=True)
    labels = torch.tensor([[1, 2.5, 2, 0.1, 0.1, 0.9, 0.9]] * 3)
    ALL.loss(logits, labels, label_smoothing=0.0).backward()
    assert (logits.grad != 0).all()


@pytest.mark.parametrize("target", [ALL, HAIR])
def test_a_target_comes_back_from_json(target: SeveralTargets | MulticlassTarget) -> None:
    adapter: TypeAdapter = TypeAdapter(Target)
    assert adapter.validate_json(target.model_dump_json()) == target


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"noise": (0.0,)}, "a noise of 0"),
        ({"scale": (0.0,)}, "do not fit"),
        ({"scale": (1.0, 2.0)}, "do not fit"),
        ({"mean": (1.0, 2.0), "scale": (1.0, 2.0), "noise": (1.0, 2.0)}, "do not fit"),
    ],
)
def test_numbers_that_nothing_can_be_measured_by_are_refused(change: dict, fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        NumbersTarget.model_validate({**AGE.model_dump(), **change})


def test_half_precision_outputs_give_float64_answers() -> None:
    assert AGE.answers(torch.zeros(1, 1, dtype=torch.bfloat16)).dtype is torch.float64
    assert math.isfinite(AGE.losses(torch.tensor([[1e4]]), torch.tensor([[0.0]]), label_smoothing=0).item())


@pytest.mark.parametrize("view", range(8))
def test_points_move_as_the_pixels_do(view: int) -> None:
    places = [(3, 1), (0, 6), (5, 5)]  # x and y of three pixels
    image = torch.zeros(1, 3, 8, 8)
    for channel, (x, y) in enumerate(places):
        image[0, channel, y, x] = 1
    values = torch.tensor([[(one + 0.5) / 8 for place in places for one in place]])
    moved = points_in(values, view, partners=(1, 0, 2)).reshape(3, 2)
    shown = apply_view(image, view)[0]
    found = [
        [(one + 0.5) / 8 for one in divmod(int(shown[channel].argmax()), 8)[::-1]] for channel in range(3)
    ]
    is_mirrored = view in {1, 2, 4, 7}  # others are the image itself and turns of it
    expected = [found[1], found[0], found[2]] if is_mirrored else found
    torch.testing.assert_close(moved, torch.tensor(expected))
    torch.testing.assert_close(points_as_they_are(moved.reshape(1, 6), view, partners=(1, 0, 2)), values)


def test_only_points_move_and_each_image_in_its_own_view() -> None:
    face = FACE.model_copy(update={"partners": (1, 0)})
    several = SeveralTargets(members=(SEX, AGE, face))
    labels = torch.tensor([[1, 30, 0.1, 0.2, 0.7, 0.4]] * 2)
    moved = several.labels_in(labels, [0, 1])
    torch.testing.assert_close(
        moved, torch.tensor([[1, 30, 0.1, 0.2, 0.7, 0.4], [1, 30, 0.3, 0.4, 0.9, 0.2]])
    )
    answers = torch.tensor([[0.2, 0.8, 30, 0.3, 0.4, 0.9, 0.2]])
    torch.testing.assert_close(
        several.as_it_is(answers, 1), torch.tensor([[0.2, 0.8, 30, 0.1, 0.2, 0.7, 0.4]])
    )
    assert as_it_is(SEX, answers, 1) is answers
    assert labels_in(SEX, labels, [1, 1]) is labels


def test_points_whose_partners_are_not_known_are_not_mirrored() -> None:
    with pytest.raises(ValueError, match="which of them a mirror exchanges is not known"):
        FACE.seen_in(torch.zeros(1, 4), 1)
    with pytest.raises(ValidationError, match="no permutation of the points"):
        NumbersTarget.model_validate({**FACE.model_dump(), "partners": (0, 0)})
