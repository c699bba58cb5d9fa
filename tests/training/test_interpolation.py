"""The line between two classifiers: its ends, its middle, and the place that `val` likes best."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from regraft.classifier import Classifier, classifier_bytes
from regraft.training.balance import learning_shares
from regraft.training.border import PixelInputs
from regraft.training.fine_tune import Labelled
from regraft.training.interpolation import Interpolated, interpolate, on_the_line
from regraft.training.reproducibility import Compute
from regraft.training.tuning_loop import Examples


@pytest.fixture
def ends(fitted_probe: Classifier) -> tuple[Classifier, Classifier]:
    """A fitted probe, and the same gone much too far, in one stage and the head."""
    far = copy.deepcopy(fitted_probe)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in (far.backbone.stages["blocks.2"], far.head):
            for parameter in module.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
        far.backbone.stages["blocks.2"][0].bn1.running_mean += 0.5
    return fitted_probe, far


@pytest.fixture
def along(
    ends: tuple[Classifier, Classifier], shapes: tuple[Labelled, Labelled], compute: Compute
) -> Callable[..., Interpolated]:
    train = shapes[0]
    shares = learning_shares(train.labels, "none")
    inputs = PixelInputs(train.pixels, ends[0].preprocessing, compute.device)

    def run(coefficient: Any = "auto", *, metric: Any = "log_loss", turned: bool = False) -> Interpolated:
        start, tuned = reversed(ends) if turned else ends
        return interpolate(
            start,
            tuned,
            "stem",
            Examples(inputs, train.labels, shares, train.labels),
            coefficient=coefficient,
            metric=metric,
            batch_size=8,
            compute=compute,
        )

    return run


def test_both_ends_are_the_classifiers_themselves(ends: tuple[Classifier, Classifier]) -> None:
    assert classifier_bytes(on_the_line(*ends, 0.0)) == classifier_bytes(ends[0])
    assert classifier_bytes(on_the_line(*ends, 1.0)) == classifier_bytes(ends[1])


def test_between_every_number_is_on_the_line_and_what_is_equal_stays(
    ends: tuple[Classifier, Classifier],
) -> None:
    between = on_the_line(*ends, 0.3).state_dict()
    start, tuned = (end.state_dict() for end in ends)
    for name, tensor in between.items():
        if torch.equal(start[name], tuned[name]):
            assert torch.equal(tensor, start[name]), name
        else:
            # 1e-6: float32
            torch.testing.assert_close(tensor, 0.7 * start[name] + 0.3 * tuned[name], rtol=1e-6, atol=1e-6)
    moved = {name for name in between if not torch.equal(start[name], between[name])}
    assert any("running_mean" in name for name in moved)
    assert "head.0.weight" in moved


def test_auto_takes_what_val_likes_best(along: Callable[..., Interpolated]) -> None:
    found = along()
    assert [row["coefficient"] for row in found.rows] == pytest.approx([step / 10 for step in range(11)])
    losses = [row["val_log_loss"] for row in found.rows]
    assert found.coefficient == found.rows[int(np.argmin(losses))]["coefficient"]
    assert found.coefficient < 1, "the far end is worse"
    turned = along(turned=True)
    # 1e-5: weights on the way there and back round otherwise
    assert [row["val_log_loss"] for row in turned.rows[::-1]] == pytest.approx(losses, abs=1e-5)
    assert turned.coefficient == pytest.approx(1 - found.coefficient)


def test_of_equals_the_one_nearest_to_the_tuned_model(along: Callable[..., Interpolated]) -> None:
    found = along(metric="accuracy")
    best = max(row["val_accuracy"] for row in found.rows)
    assert found.coefficient == max(
        row["coefficient"] for row in found.rows if row["val_accuracy"] == pytest.approx(best)
    )


def test_a_number_is_taken_as_it_is(
    along: Callable[..., Interpolated], ends: tuple[Classifier, Classifier]
) -> None:
    found = along(0.25)
    assert (found.coefficient, len(found.rows)) == (0.25, 1)
    assert classifier_bytes(found.classifier) == classifier_bytes(on_the_line(*ends, 0.25))
