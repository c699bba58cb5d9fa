import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import log_loss

from regraft.heads.several import Target
from regraft.heads.targets import BinaryTarget, MulticlassTarget, target_for

BINARY = BinaryTarget(column="label", label_names=("functional", "defective"))
THREE = MulticlassTarget(column="label", label_names=("a", "b", "c"))


def test_binary_loss_by_hand() -> None:
    logits, labels = torch.tensor([[math.log(3)], [math.log(3)]]), torch.tensor([1, 0])
    # The second label has probability 3/4: -ln(3/4) and -ln(1/4), in the mean.
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert BINARY.loss(logits, labels, label_smoothing=0.0).item() == pytest.approx(expected, abs=1e-6)


def test_binary_smoothing_spreads_over_both_classes() -> None:
    logits, labels = torch.tensor([[math.log(3)]]), torch.tensor([1])
    # Of 0.2, half stays with the label: 0.9 and 0.1.
    expected = -(0.9 * math.log(0.75) + 0.1 * math.log(0.25))
    assert BINARY.loss(logits, labels, label_smoothing=0.2).item() == pytest.approx(expected, abs=1e-6)


def test_binary_loss_takes_probabilities() -> None:
    loss = BINARY.loss(torch.tensor([[math.log(3)]]), torch.tensor([0.9]), label_smoothing=0.0)
    assert loss.item() == pytest.approx(-(0.9 * math.log(0.75) + 0.1 * math.log(0.25)), abs=1e-6)


def test_multiclass_smoothing_by_hand() -> None:
    logits, labels = torch.log(torch.tensor([[0.5, 0.3, 0.2]])), torch.tensor([1])
    # Of 0.3, a third goes to each class: 0.1, 0.8, 0.1.
    expected = -(0.1 * math.log(0.5) + 0.8 * math.log(0.3) + 0.1 * math.log(0.2))
    assert THREE.loss(logits, labels, label_smoothing=0.3).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("target", [BINARY, THREE])
def test_loss_of_probabilities_is_scikit_learns(target: BinaryTarget | MulticlassTarget) -> None:
    generator = torch.Generator().manual_seed(0)
    num_classes = len(target.label_names)
    logits = torch.randn(40, target.num_outputs, generator=generator) * 3
    labels = torch.arange(40) % num_classes
    expected = log_loss(labels, target.answers(logits), labels=range(num_classes))
    # float32 loss against float64 probabilities
    assert target.loss(logits, labels, label_smoothing=0.0).item() == pytest.approx(expected, rel=1e-5)


def test_binary_is_multiclass_with_a_first_logit_of_zero() -> None:
    logits = torch.linspace(-30, 30, 13)[:, None]
    both = torch.cat([torch.zeros_like(logits), logits], dim=1)
    two = MulticlassTarget(column="label", label_names=BINARY.label_names)
    # 1e-12: both are float64
    torch.testing.assert_close(BINARY.answers(logits), two.answers(both), rtol=0, atol=1e-12)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3, max_size=3))
def test_probabilities_are_float64_and_sum_to_one(row: list[float]) -> None:
    for target in (BINARY, THREE):
        probabilities = target.answers(torch.tensor([row[: target.num_outputs]]))
        assert probabilities.dtype is torch.float64
        assert probabilities.shape == (1, len(target.label_names))
        assert probabilities.min() >= 0
        assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)


def test_second_label_is_the_positive_one() -> None:
    assert BINARY.answers(torch.tensor([[5.0]])).argmax().item() == 1


def test_two_labels_make_a_binary_target_and_more_a_multiclass_one() -> None:
    assert target_for("label", ("functional", "defective")) == BINARY
    assert target_for("label", ("a", "b", "c")) == THREE


@pytest.mark.parametrize("label_names", [(), ("only",)])
def test_fewer_than_two_labels_are_refused(label_names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"'kind' has {len(label_names)} label.*needs two"):
        target_for("kind", label_names)


@pytest.mark.parametrize("target", [BINARY, THREE])
def test_targets_survive_json(target: BinaryTarget | MulticlassTarget) -> None:
    assert TypeAdapter(Target).validate_json(target.model_dump_json()) == target
    with pytest.raises(ValidationError):
        target.column = "other"


@pytest.mark.parametrize("target", [BINARY, THREE])
def test_weights_multiply_each_images_loss(target: BinaryTarget | MulticlassTarget) -> None:
    logits = torch.tensor([[0.3, -1.0, 0.2], [2.0, 0.1, -0.4]])[:, : target.num_outputs]
    labels, weights = torch.tensor([0, 1]), torch.tensor([0.5, 3.0])
    each = [
        target.loss(logits[row : row + 1], labels[row : row + 1], label_smoothing=0.1).item()
        for row in (0, 1)
    ]
    weighted = target.loss(logits, labels, label_smoothing=0.1, weights=weights).item()
    assert weighted == pytest.approx((0.5 * each[0] + 3 * each[1]) / 2, rel=1e-6)
