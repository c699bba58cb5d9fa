import numpy as np
import pytest
import torch

from regraft.heads.numbers import NumbersTarget
from regraft.training.target_losses import error_unit, image_losses

TARGETS = [
    {"name": "gender", "kind": "classes", "label_names": ["female", "male"]},
    {"name": "age", "kind": "number"},
    {"name": "face", "kind": "points", "num_points": 2},
]


def test_each_target_costs_nats_by_hand() -> None:
    true = {
        "gender": np.array([0, 1]),
        "age": np.array([30.0, 40.0]),
        "face": np.zeros((2, 2, 2)),
    }
    said = {
        "gender": np.array([[0.25, 0.75], [1.0, 0.0]]),
        "age": np.array([34.0, 40.0]),
        "face": np.array([[[0.1, 0.3], [0.0, 0.0]], [[0.2, 0.2], [0.2, 0.2]]]),
    }
    losses = image_losses(true, said, TARGETS, {"age": 4.0, "face": 0.01})
    assert list(losses) == ["gender", "age", "face"]
    # -ln(1/4), and a label held impossible at the least probability; 16 / 4 / 2; (0.01 + 0.09) / 4 / 0.01 / 2
    assert losses["gender"].tolist() == pytest.approx([np.log(4), 15 * np.log(10)])
    assert losses["age"].tolist() == pytest.approx([2.0, 0.0])
    assert losses["face"].tolist() == pytest.approx([1.25, 2.0])


@pytest.mark.parametrize(("kind", "num_values"), [("number", 1), ("points", 6)])
def test_numbers_cost_what_the_head_is_trained_on_in_units_of_its_noise(kind: str, num_values: int) -> None:
    generator = np.random.default_rng(0)
    true, said = generator.normal(size=(2, 5, num_values))
    target = NumbersTarget(
        kind=kind, column="x", mean=(0.0,) * num_values, scale=(2.0,) * num_values, noise=(1.5,) * num_values
    )
    outputs = torch.from_numpy(said / 2)
    expected = target.losses(outputs, torch.from_numpy(target.learnt(true)), label_smoothing=0.0).numpy()
    shape = (5,) if kind == "number" else (5, -1, 2)
    described = {"name": "x", "kind": kind, "num_points": num_values // 2}
    found = image_losses({"x": true.reshape(shape)}, {"x": said.reshape(shape)}, [described], {"x": 9.0})
    np.testing.assert_allclose(found["x"], expected, rtol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e9])
def test_what_a_number_costs_does_not_depend_on_its_unit(factor: float) -> None:
    generator = np.random.default_rng(0)
    true, said = generator.normal(size=(2, 50)) * factor
    age = {"name": "age", "kind": "number"}
    unit = error_unit(true, said)
    losses = image_losses({"age": true}, {"age": said}, [age], {"age": unit})["age"]
    assert losses.mean() == pytest.approx(0.5)
    assert unit == pytest.approx(((true - said) ** 2).mean())


def test_answers_without_an_error_still_have_a_unit_to_be_divided_by() -> None:
    true = np.array([3.0, 5.0])
    assert error_unit(true, true) == pytest.approx(1e-12)
    assert error_unit(true[:1], true[:1]) == 1.0
