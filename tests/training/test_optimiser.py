import math

import pytest
import torch
from torch import nn

from regraft.training.optimiser import (
    OptimiserSettings,
    build_optimiser,
    schedule_factor,
    set_learning_rates,
)

SETTINGS = OptimiserSettings(
    learning_rate=0.1, layer_decay=0.5, weight_decay=0.02, warmup_fraction=0.2, max_gradient_norm=1.0
)


def make_stage() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))


def groups_of(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    """Rate and decay of each parameter."""
    found = {}
    for group in optimiser.param_groups:
        for member in group["params"]:
            for name, parameter in module.named_parameters():
                if parameter is member:
                    assert name not in found
                    found[name] = (group["lr"], group["weight_decay"])
    return found


def test_rates_fall_with_depth_and_vectors_do_not_decay() -> None:
    stages = [make_stage(), make_stage(), nn.Sequential(nn.Linear(3, 2))]
    optimiser = build_optimiser(stages, SETTINGS)
    assert groups_of(nn.ModuleList(stages), optimiser) == {
        "0.0.weight": (0.025, 0.02),
        "0.0.bias": (0.025, 0.0),
        "0.1.weight": (0.025, 0.0),
        "0.1.bias": (0.025, 0.0),
        "1.0.weight": (0.05, 0.02),
        "1.0.bias": (0.05, 0.0),
        "1.1.weight": (0.05, 0.0),
        "1.1.bias": (0.05, 0.0),
        "2.0.weight": (0.1, 0.02),
        "2.0.bias": (0.1, 0.0),
    }


def test_a_stage_without_trained_parameters_still_counts_as_depth() -> None:
    stages = [make_stage(), make_stage().requires_grad_(False), nn.Sequential(nn.Linear(3, 2))]
    found = groups_of(nn.ModuleList(stages), build_optimiser(stages, SETTINGS))
    assert found["0.0.weight"] == (0.025, 0.02)
    assert not [name for name in found if name.startswith("1.")]


def test_schedule_by_hand() -> None:
    factors = [schedule_factor(step, 10, warmup_fraction=0.2) for step in range(10)]
    # Two steps up, then eight from the top of a cosine.
    expected = [0.5, 1.0] + [0.5 * (1 + math.cos(math.pi * done / 8)) for done in range(8)]
    assert factors == pytest.approx(expected, abs=1e-12)
    assert factors[6] == pytest.approx(0.5, abs=1e-12)


def test_schedule_without_warm_up_starts_at_the_top() -> None:
    factors = [schedule_factor(step, 4, warmup_fraction=0.0) for step in range(4)]
    assert factors == pytest.approx([1, 0.5 + math.sqrt(2) / 4, 0.5, 0.5 - math.sqrt(2) / 4], abs=1e-12)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.1, 0.25, 0.99])
def test_schedule_stays_within_bounds_and_turns_once(num_steps: int, warmup_fraction: float) -> None:
    factors = [schedule_factor(step, num_steps, warmup_fraction=warmup_fraction) for step in range(num_steps)]
    assert all(0 < factor <= 1 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def test_all_groups_follow_the_schedule_from_their_own_top() -> None:
    stages = [make_stage(), nn.Sequential(nn.Linear(3, 2))]
    optimiser = build_optimiser(stages, SETTINGS)
    for step in (0, 9, 6):  # in any order: a rate depends on the step alone
        set_learning_rates(optimiser, step, 10, warmup_fraction=0.2)
    found = groups_of(nn.ModuleList(stages), optimiser)
    assert found["1.0.weight"][0] == pytest.approx(0.05, abs=1e-12)
    assert found["0.0.weight"][0] == pytest.approx(0.025, abs=1e-12)


def test_one_step_is_adamws_by_hand() -> None:
    head = nn.Linear(1, 1)
    nn.init.constant_(head.weight, 2.0)
    nn.init.constant_(head.bias, 2.0)
    optimiser = build_optimiser([head], SETTINGS)
    for parameter in head.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    optimiser.step()
    # The first step is the rate against the gradient's sign; before it, weights shrink by rate · decay.
    assert head.weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.02) - 0.1, abs=1e-6)
    assert head.bias.item() == pytest.approx(2.0 - 0.1, abs=1e-6)
