import copy
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import log_loss as sklearn_log_loss
from torch import nn
from tuning_sample import OPTIMISER, SETTINGS

from regraft.backbones.backbone import tensor_digest
from regraft.backbones.stage_choice import LastStages, Unfreeze
from regraft.classifier import Classifier, classifier_bytes
from regraft.classifier.classifier import normalize_pixels
from regraft.messages import PROGRESS_LOGGER
from regraft.save_points import InMemory, NoSavePoints, SavePoints
from regraft.training import search_stages
from regraft.training.balance import Balance, even_weights, learning_shares
from regraft.training.fine_tune import (
    FineTuned,
    Labelled,
    fine_tune,
    labelled,
    num_trained,
)
from regraft.training.interpolation import add_moved
from regraft.training.reproducibility import Compute
from regraft.training.stage_receipt import FrozenStageMovedError
from regraft.training.unfreeze_search import SearchSettings

TAKE_THE_BEST = SearchSettings(rounds=2, min_updates=1, take="one", noise=0.0)
TAKE_THE_MEAN = dataclasses.replace(TAKE_THE_BEST, rounds=1, take="mean")
# Down the gradient of all training pictures: with val the same pictures, epoch 1 is better for sure.
ONE_SMALL_STEP = {"batch_size": 30, "max_epochs": 1, "learning_rate": 1e-5}
Tune = Callable[..., FineTuned]


@pytest.fixture
def tune(fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], compute: Compute, store: Any) -> Tune:
    """Fine-tunes a small probe on discs, squares and crosses, with changes to `SETTINGS`."""

    def run(
        probe: Classifier = fitted_probe,
        *,
        train: Labelled = shapes[0],
        val: Labelled = shapes[1],
        num_streams: int = 1,
        fast_dtype: torch.dtype = torch.float32,
        save_points: SavePoints | None = None,
        learning_rate: float = OPTIMISER.learning_rate,
        **changes: Any,
    ) -> FineTuned:
        optimiser = dataclasses.replace(OPTIMISER, learning_rate=learning_rate)
        return fine_tune(
            probe,
            train,
            val,
            settings=dataclasses.replace(SETTINGS, optimiser=optimiser, **changes),
            compute=dataclasses.replace(compute, num_streams=num_streams, fast_dtype=fast_dtype),
            store=store,
            save_points=save_points or NoSavePoints(),
        )

    return run


def logits(classifier: Classifier, split: Labelled, *, batch_size: int = 4) -> torch.Tensor:
    """In the batches in which fine-tuning measures, so that equal weights give equal bits."""
    with torch.inference_mode():
        images = normalize_pixels(torch.from_numpy(split.pixels), classifier.preprocessing)
        return torch.cat([classifier(part) for part in images.split(batch_size)])


def log_loss(classifier: Classifier, split: Labelled) -> float:
    probabilities = classifier.target.answers(logits(classifier, split)).numpy()
    return float(-np.log(probabilities[np.arange(len(split.labels)), split.labels]).mean())


def wrong(split: Labelled) -> Labelled:
    """The same images, every label another: the better a model gets, the worse it looks."""
    return Labelled(split.pixels, (split.labels + 1) % 3)


def moved(before: Classifier, after: Classifier) -> set[str]:
    """Names of parameters and buffers that are not the same bits."""
    old = before.state_dict()
    return {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, old[name])}


@pytest.mark.parametrize("num_stages", [0, 2, 4])
def test_epoch_0_is_the_probe_on_val(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], num_stages: int
) -> None:
    probe, val = fitted_probe, shapes[1]
    result = tune(probe, unfreeze=LastStages(num_stages))
    expected = probe.target.answers(logits(probe, val)).numpy()
    # 1e-6: what is frozen runs with its norms folded in, rounded otherwise by parts in ten million
    assert result.history[0]["val_log_loss"] == pytest.approx(log_loss(probe, val), abs=1e-6)
    assert result.history[0]["val_accuracy"] == (expected.argmax(axis=1) == val.labels).mean()
    assert result.history[0]["epoch"] == 0
    assert "train_loss" not in result.history[0]


@pytest.mark.parametrize("changes", [{"max_epochs": 0}, {"learning_rate": 1e-30, "max_epochs": 1}])
@pytest.mark.parametrize("num_stages", [0, 2, 4])
def test_without_a_step_the_classifier_is_backbone_and_head(
    tune: Tune,
    fitted_probe: Classifier,
    shapes: tuple[Labelled, Labelled],
    num_stages: int,
    changes: dict[str, Any],
) -> None:
    probe = fitted_probe
    result = tune(probe, unfreeze=LastStages(num_stages), **changes)
    assert torch.equal(logits(result.classifier, shapes[1]), logits(probe, shapes[1]))
    assert classifier_bytes(result.classifier) == classifier_bytes(probe)
    assert result.best_epoch == 0
    assert len({row["val_log_loss"] for row in result.history}) == 1


@pytest.mark.parametrize("num_stages", [0, 1, 2, 3, 4])
def test_frozen_stages_do_not_move_and_no_norm_learns_statistics(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], num_stages: int
) -> None:
    probe = fitted_probe
    before = {name: tensor_digest(stage) for name, stage in probe.backbone.stages.items()}
    result = tune(probe, val=shapes[0], unfreeze=LastStages(num_stages), **ONE_SMALL_STEP)
    assert result.best_epoch == 1, "or nothing is handed back that could have moved"
    after = {name: tensor_digest(stage) for name, stage in result.classifier.backbone.stages.items()}
    has_moved = [before[name] != after[name] for name in before]
    assert has_moved == [False] * (4 - num_stages) + [True] * num_stages
    names = moved(probe, result.classifier)
    assert {"head.0.weight", "head.0.bias"} <= names
    assert not [name for name in names if "running" in name or "num_batches" in name]
    assert [name for name in probe.state_dict() if "running_var" in name], "there are statistics to keep"


CHOICES: dict[str, tuple[Any, set[str]]] = {
    "first": ("first", {"stem", "blocks.0"}),
    "named": (("blocks.1",), {"blocks.1"}),
    "apart": (("blocks.2", "stem"), {"stem", "blocks.2"}),
    "all": ("all", {"stem", "blocks.0", "blocks.1", "blocks.2"}),
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_chosen_stages_move_and_no_others(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], choice: str, batch_norm: str
) -> None:
    unfreeze, expected = CHOICES[choice]
    result = tune(val=shapes[0], unfreeze=unfreeze, batch_norm=batch_norm, **ONE_SMALL_STEP)
    if batch_norm == "frozen":
        assert result.best_epoch == 1, "or nothing is handed back that could have moved"
    rows = {row["stage"]: row for row in result.receipt}
    assert list(rows) == ["stem", "blocks.0", "blocks.1", "blocks.2", "head"]
    assert {name for name, row in rows.items() if row["is_trained"]} == expected | {"head"}
    if result.best_epoch:
        assert {name for name, row in rows.items() if row["has_moved"]} == expected | {"head"}
    names = moved(fitted_probe, result.classifier)
    assert all(
        any(name.startswith(f"backbone.stages.{one.replace('.', '_')}.") for one in expected)
        for name in names
        if not name.startswith("head.")
    )


@pytest.mark.parametrize("choice", CHOICES)
def test_only_what_lies_before_the_first_trained_stage_is_kept(tune: Tune, store: Any, choice: str) -> None:
    unfreeze, trained = CHOICES[choice]
    tune(unfreeze=unfreeze, views="mirror", max_epochs=1)
    channels = {array.shape[1] for array in store.arrays.values()}
    # stem gives 32, blocks.0 16, blocks.1 24; nothing is kept where the first stage is trained
    assert channels == (set() if "stem" in trained else {16})
    assert len(store.arrays) == (0 if "stem" in trained else 3)


@pytest.mark.parametrize("unfreeze", ["first", ("blocks.0",)])
def test_gradients_through_frozen_stages_are_those_of_the_whole_network(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], unfreeze: Any
) -> None:
    """One plain step by hand: what AdamW does first is the rate times the gradient's sign, where that is large."""
    probe, train = copy.deepcopy(fitted_probe), shapes[0]
    result = tune(val=train, unfreeze=unfreeze, batch_size=30, max_epochs=1, learning_rate=1e-5)
    assert result.best_epoch == 1
    weight = probe.backbone.stages["blocks.0"][0].conv_pw.weight.requires_grad_(True)
    images = normalize_pixels(torch.from_numpy(train.pixels), probe.preprocessing)
    loss = probe.target.loss(probe(images), torch.as_tensor(train.labels), label_smoothing=0.0)
    (gradient,) = torch.autograd.grad(loss, [weight])
    step = result.classifier.backbone.stages["blocks.0"][0].conv_pw.weight - weight.detach()
    large = gradient.abs() > gradient.abs().median()
    assert torch.equal(step.sign()[large], -gradient.sign()[large])


def test_rates_fall_along_the_trained_stages(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    """AdamW's first step is as long as the rate: the head's whole, then a factor of 0.8 a trained stage."""
    result = tune(val=shapes[0], unfreeze=("stem", "blocks.1"), **ONE_SMALL_STEP)
    assert result.best_epoch == 1
    before, after = fitted_probe.state_dict(), result.classifier.state_dict()
    norm = {"head.0": "head.0.bias", "blocks.1": "blocks_1.0.bn1.bias", "stem": "stem.bn1.bias"}
    steps = {
        name: max((after[key] - before[key]).abs().max().item() for key in after if key.endswith(ending))
        for name, ending in norm.items()
    }
    assert steps["blocks.1"] == pytest.approx(0.8 * steps["head.0"], rel=0.02)
    assert steps["stem"] == pytest.approx(0.64 * steps["head.0"], rel=0.02)


def test_none_hands_the_probe_back_untrained(tune: Tune, fitted_probe: Classifier, store: Any) -> None:
    result = tune(unfreeze="none", max_epochs=3)
    assert classifier_bytes(result.classifier) == classifier_bytes(fitted_probe)
    assert result.best_epoch == 0
    assert len(store.arrays) == 1, "val alone is looked at"
    assert result.history == tune(unfreeze=LastStages(0), max_epochs=0).history
    assert not any(row["is_trained"] or row["has_moved"] for row in result.receipt)


def test_statistics_adapt_in_trained_stages_alone(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    result = tune(
        val=shapes[0], unfreeze=LastStages(2), batch_norm="adapt", max_epochs=20, learning_rate=3e-3
    )
    assert result.best_epoch > 0, result.history
    statistics = {name for name in moved(fitted_probe, result.classifier) if "running" in name}
    assert statistics == {
        name
        for name in fitted_probe.state_dict()
        if "running" in name and ("blocks_1" in name or "blocks_2" in name)
    }
    rows = {row["stage"]: row for row in result.receipt}
    assert rows["blocks.2"]["statistics_before"] != rows["blocks.2"]["statistics_after"]
    assert rows["stem"]["statistics_before"] == rows["stem"]["statistics_after"]
    # What is measured is what is handed back, its running statistics too. 1e-6: folded norms of the frozen part
    assert log_loss(result.classifier, shapes[0]) == pytest.approx(
        result.history[result.best_epoch]["val_log_loss"], abs=1e-6
    )


def test_adapting_on_streams_does_not_change_a_bit(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    one, two = (
        tune(val=shapes[0], unfreeze="all", batch_norm="adapt", averaging=0.5, num_streams=count)
        for count in (1, 2)
    )
    assert one.history == two.history
    assert classifier_bytes(one.classifier) == classifier_bytes(two.classifier)


def test_auto_searches_and_then_trains_what_it_found(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    changes: dict[str, Any] = {"val": shapes[0], "max_epochs": 4, "search": TAKE_THE_BEST}
    found = tune(unfreeze="auto", **changes)
    chosen = [row for row in found.search if row["weight"]]
    assert len(chosen) == 1
    assert {row["candidate"] for row in found.search} == {
        "none",
        "last 1",
        "last 2",
        "last 3",
        "first",
        "all",
    }
    assert found.unfreeze not in ("auto", "none")
    named = tune(unfreeze=found.unfreeze, **changes)
    assert named.search == []
    assert named.history == found.history
    assert classifier_bytes(named.classifier) == classifier_bytes(found.classifier)
    trained = [row["stage"] for row in found.receipt if row["is_trained"]]
    assert trained == [*chosen[0]["stages"], "head"]


def test_a_candidate_is_measured_as_far_as_its_training_has_come(
    tune: Tune, shapes: tuple[Labelled, Labelled]
) -> None:
    changes: dict[str, Any] = {"val": shapes[0], "averaging": 0.9, "max_epochs": 4, "learning_rate": 1e-4}
    found = tune(unfreeze="auto", search=TAKE_THE_BEST, **changes)
    (row,) = [row for row in found.search if (row["candidate"], row["epochs"]) == ("last 2", 2)]
    alone = tune(unfreeze=LastStages(2), **changes)
    assert row["val_log_loss"] == min(one["val_log_loss"] for one in alone.history[:3])


@pytest.mark.parametrize("save_points", [InMemory(), NoSavePoints()])
def test_the_chosen_candidate_is_not_trained_again_where_something_is_kept(
    tune: Tune, shapes: tuple[Labelled, Labelled], save_points: SavePoints, caplog: pytest.LogCaptureFixture
) -> None:
    changes: dict[str, Any] = {"val": shapes[0], "max_epochs": 4, "search": TAKE_THE_BEST}
    with caplog.at_level(logging.DEBUG, PROGRESS_LOGGER):
        found = tune(unfreeze="auto", save_points=save_points, **changes)
    tasks = [record.task for record in caplog.records if record.name == PROGRESS_LOGGER]  # type: ignore[attr-defined]
    assert any(task.startswith("trying unfreeze") for task in tasks)
    is_trained_again = any(task.startswith("fine-tuning") for task in tasks)
    assert is_trained_again == isinstance(save_points, NoSavePoints)
    assert classifier_bytes(found.classifier) == classifier_bytes(
        tune(unfreeze=found.unfreeze, **changes).classifier
    )


def test_auto_hands_the_probe_back_where_training_makes_it_worse(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    result = tune(unfreeze="auto", val=wrong(shapes[0]))
    assert result.unfreeze == "none"
    assert classifier_bytes(result.classifier) == classifier_bytes(fitted_probe)
    assert [row["epoch"] for row in result.history] == [0]


@pytest.mark.parametrize("search", [TAKE_THE_BEST, TAKE_THE_MEAN])
def test_a_killed_search_and_a_killed_training_after_it_end_in_the_same_bits(
    tune: Tune, shapes: tuple[Labelled, Labelled], search: SearchSettings
) -> None:
    changes: dict[str, Any] = {"unfreeze": "auto", "val": shapes[0], "search": search}
    whole, counting = tune(**changes), Interrupting()
    tune(save_points=counting, **changes)
    assert counting.num_writes > 12
    for kill_after in (3, counting.num_writes - 2):
        save_points = Interrupting()
        save_points.kill_after = kill_after
        with pytest.raises(KilledError):
            tune(save_points=save_points, **changes)
        resumed = tune(save_points=save_points, **changes)
        assert save_points.num_writes == counting.num_writes, "what was done before the kill was done again"
        assert resumed.search == whole.search
        assert classifier_bytes(resumed.classifier) == classifier_bytes(whole.classifier)


def test_auto_hands_back_the_mean_of_what_its_candidates_have_become(
    tune: Tune, shapes: tuple[Labelled, Labelled]
) -> None:
    changes: dict[str, Any] = {"val": shapes[0], "max_epochs": 4, "learning_rate": 3e-5}
    found = tune(unfreeze="auto", search=TAKE_THE_MEAN, **changes)
    weights = {row["candidate"]: row["weight"] for row in found.search if row["weight"]}
    assert len(weights) > 2
    by_name: dict[str, Unfreeze] = {"none": "none", "first": "first", "all": "all"}
    by_name |= {f"last {last}": LastStages(last) for last in (1, 2, 3)}
    alone = {name: tune(unfreeze=by_name[name], **changes) for name in weights}
    assert sum(one.best_epoch > 0 for one in alone.values()) > 1
    for key, tensor in found.classifier.state_dict().items():
        parts = [weight * alone[name].classifier.state_dict()[key] for name, weight in weights.items()]
        torch.testing.assert_close(tensor, sum(parts).to(tensor.dtype), atol=1e-6, rtol=1e-5)  # type: ignore[union-attr]
    assert found.val["val_log_loss"] == pytest.approx(log_loss(found.classifier, shapes[0]), abs=1e-6)
    changed = [name for name in weights if alone[name].best_epoch > 0]
    heaviest = max(changed, key=weights.__getitem__)
    assert found.history == alone[heaviest].history


def test_stages_that_no_candidate_of_a_mean_has_trained_stay_to_the_bit(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], monkeypatch: pytest.MonkeyPatch
) -> None:
    deepest = ("none", LastStages(1), LastStages(2))
    monkeypatch.setattr(search_stages, "candidates", lambda _: deepest)
    found = tune(unfreeze="auto", search=TAKE_THE_MEAN, val=shapes[0], learning_rate=1e-5)
    assert all(row["weight"] > 0.1 for row in found.search)
    assert found.unfreeze == ("blocks.1", "blocks.2")
    rows = {row["stage"]: row for row in found.receipt}
    assert [stage for stage, row in rows.items() if row["has_moved"]] == ["blocks.1", "blocks.2", "head"]
    assert not any("stem" in name or "blocks_0" in name for name in moved(fitted_probe, found.classifier))


def test_a_mean_that_is_worse_than_each_of_its_candidates_is_not_taken(
    tune: Tune,
    shapes: tuple[Labelled, Labelled],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Candidates that seem to lie in another valley: what is added of each is turned about."""
    changes: dict[str, Any] = {"unfreeze": "auto", "val": shapes[0], "learning_rate": 1e-5}
    one = tune(search=dataclasses.replace(TAKE_THE_MEAN, take="one"), **changes)
    mean = tune(search=TAKE_THE_MEAN, **changes)
    assert "worse on val" not in caplog.text
    monkeypatch.setattr(
        search_stages,
        "add_moved",
        lambda mean, start, tuned, weight: add_moved(mean, start, tuned, -50 * weight),
    )
    found = tune(search=TAKE_THE_MEAN, **changes)
    assert "the mean of the candidates is worse on val than each of them; all is taken" in caplog.text
    assert classifier_bytes(found.classifier) == classifier_bytes(one.classifier)
    assert found.search == one.search != mean.search


def test_a_mean_of_what_no_training_made_better_is_the_probe(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    result = tune(unfreeze="auto", val=wrong(shapes[0]), search=TAKE_THE_MEAN)
    assert result.unfreeze == "none"
    assert classifier_bytes(result.classifier) == classifier_bytes(fitted_probe)


def test_the_model_lies_where_val_says_between_probe_and_best_epoch(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    plain, auto, half = (
        tune(max_epochs=4, interpolate=how, learning_rate=1e-3, val=shapes[0])
        for how in ("none", "auto", 0.5)
    )
    assert plain.history == auto.history == half.history
    assert (plain.coefficient, plain.interpolation) == (1.0, [])
    losses = [row["val_log_loss"] for row in auto.interpolation]
    # 1e-6: frozen and measured parts with their norms folded in
    assert losses[0] == pytest.approx(auto.history[0]["val_log_loss"], abs=1e-6)
    assert losses[10] == pytest.approx(auto.history[auto.best_epoch]["val_log_loss"], abs=1e-6)
    assert log_loss(auto.classifier, shapes[0]) == pytest.approx(min(losses), abs=1e-6)
    start, tuned, between = (one.head[0].weight for one in (fitted_probe, plain.classifier, half.classifier))
    assert torch.equal(between, torch.lerp(start, tuned, 0.5))
    assert half.coefficient == 0.5


def test_from_scratch_everything_is_trained_from_random_weights(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    changes: dict[str, Any] = {"start": "scratch", "unfreeze": "all", "batch_norm": "adapt", "val": shapes[0]}
    result = tune(**changes, max_epochs=15, learning_rate=3e-3)
    # Epoch 0 knows nothing: three classes, equally likely
    assert result.history[0]["val_log_loss"] == pytest.approx(np.log(3), abs=1e-6)
    assert min(row["val_log_loss"] for row in result.history) < np.log(3) - 0.1
    assert all(row["is_trained"] and row["has_moved"] for row in result.receipt)
    again = tune(**changes, max_epochs=0)
    assert again.receipt[0]["weights_before"] == result.receipt[0]["weights_before"]
    assert again.classifier.backbone.receipt.name == "random-0"


class Meddling(nn.Module):
    """A stage that, whenever it runs with gradients, moves a weight that is not its own."""

    def __init__(self, stage: nn.Module, victim: nn.Module) -> None:
        super().__init__()
        self.stage = stage
        self._victim = [victim]  # in a list: not a part of it

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            with torch.no_grad():
                next(iter(self._victim[0].parameters())).add_(1e-4)
        return self.stage(given)


def test_a_frozen_stage_that_moves_is_an_error(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    stages = fitted_probe.backbone.stages
    stages.add_module("blocks_2", Meddling(stages["blocks.2"], stages["blocks.0"]))
    with pytest.raises(
        FrozenStageMovedError, match=r"though frozen: weights of blocks\.0; the model is not kept"
    ):
        tune(fitted_probe, val=shapes[0], **ONE_SMALL_STEP)


def test_the_given_probe_is_not_changed(tune: Tune, fitted_probe: Classifier) -> None:
    probe = fitted_probe
    before = classifier_bytes(probe)
    tune(probe, unfreeze=LastStages(4))
    assert classifier_bytes(probe) == before
    assert not any(parameter.requires_grad for parameter in probe.parameters())


def test_frozen_depthwise_convolutions_and_their_norms_do_not_move(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    probe = fitted_probe
    frozen, trained = (
        moved(
            probe,
            tune(probe, unfreeze=LastStages(4), depthwise=how, val=shapes[0], **ONE_SMALL_STEP).classifier,
        )
        for how in ("frozen", "trained")
    )
    depthwise = set()
    for stage, module in probe.backbone.stages.items():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                norm = name.replace("conv_dw", "bn1" if stage == "blocks.0" else "bn2")
                prefix = f"backbone.stages.{stage.replace('.', '_')}"
                depthwise |= {f"{prefix}.{name}.weight", f"{prefix}.{norm}.weight", f"{prefix}.{norm}.bias"}
    assert len(depthwise) == 3 * 5  # blocks.0 to blocks.2 hold 1, 2 and 2
    assert depthwise <= trained
    assert trained - frozen == depthwise


AS_SHIPPED = {"fast_dtype": torch.bfloat16, "depthwise": "frozen"}


@pytest.mark.parametrize("more", [{"learning_rate": 1e-5}, {"learning_rate": 1e-4, **AS_SHIPPED}])
@pytest.mark.parametrize("num_stages", [1, 4])
def test_streams_do_not_change_a_bit(
    tune: Tune, shapes: tuple[Labelled, Labelled], num_stages: int, more: dict[str, Any]
) -> None:
    one, two = (
        tune(
            val=shapes[0],
            unfreeze=LastStages(num_stages),
            views="flips",
            num_streams=count,
            **more,
        )
        for count in (1, 2)
    )
    assert one.history == two.history
    assert one.best_epoch > 0
    assert classifier_bytes(one.classifier) == classifier_bytes(two.classifier)


def transposed(classifier: Classifier) -> Classifier:
    """The same weights, in another order in memory: as files made from TensorFlow's hold them."""
    turned = copy.deepcopy(classifier)
    for parameter in turned.parameters():
        parameter.data = parameter.data.transpose(0, -1).contiguous().transpose(0, -1)
        if parameter.ndim == 4:
            parameter.data = parameter.data.permute(2, 3, 1, 0).contiguous().permute(3, 2, 0, 1)
    return turned


@pytest.mark.parametrize("more", [{"learning_rate": 1e-5}, {"learning_rate": 1e-4, **AS_SHIPPED}])
def test_how_weights_lie_in_memory_does_not_change_what_is_learnt(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], more: dict[str, Any]
) -> None:
    one, other = (tune(probe, val=shapes[0], **more) for probe in (fitted_probe, transposed(fitted_probe)))
    assert one.best_epoch > 0
    for row, expected in zip(other.history, one.history, strict=True):
        assert row == pytest.approx(expected, rel=1e-6)  # sums in another order where they are frozen


def test_same_seed_same_bits_whatever_was_drawn_before(tune: Tune) -> None:
    torch.manual_seed(1)
    first = tune(views="flips")
    torch.manual_seed(2)
    again, other = tune(views="flips"), tune(views="flips", seed=1)
    assert first.history == again.history
    assert classifier_bytes(first.classifier) == classifier_bytes(again.classifier)
    assert first.history[1] != other.history[1]


def test_global_generators_are_left_alone(tune: Tune, fitted_probe: Classifier) -> None:
    probe = fitted_probe
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    tune(probe, views="flips")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_the_probe_is_handed_back_where_every_epoch_is_worse(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    result = tune(val=wrong(shapes[0]))
    losses = [row["val_log_loss"] for row in result.history]
    assert min(losses[1:]) > losses[0] + 0.1
    assert result.best_epoch == 0
    assert classifier_bytes(result.classifier) == classifier_bytes(fitted_probe)


def test_the_best_epoch_is_handed_back_though_later_ones_are_worse(
    tune: Tune, shapes: tuple[Labelled, Labelled]
) -> None:
    result = tune(max_epochs=4)
    losses = [row["val_log_loss"] for row in result.history]
    assert 0 < result.best_epoch < 4
    assert result.best_epoch == int(np.argmin(losses))
    assert losses[-1] > losses[result.best_epoch] + 0.01
    # 1e-6: what is frozen runs with its norms folded in
    assert log_loss(result.classifier, shapes[1]) == pytest.approx(losses[result.best_epoch], abs=1e-6)


@pytest.fixture
def partly_wrong(shapes: tuple[Labelled, Labelled]) -> Labelled:
    """A third of the labels is another: whoever is sure of the right ones is too sure."""
    labels = shapes[0].labels
    return Labelled(shapes[0].pixels, np.where(np.arange(len(labels)) // 3 % 3, labels, (labels + 1) % 3))


def test_what_was_trained_is_made_less_sure_as_val_asks(tune: Tune, partly_wrong: Labelled) -> None:
    changes = ONE_SMALL_STEP | {"train": partly_wrong, "val": partly_wrong}
    plain, calibrated = (tune(calibrate=calibrate, **changes) for calibrate in (False, True))
    assert plain.best_epoch == calibrated.best_epoch == 1
    assert plain.temperature == 1
    assert calibrated.temperature > 1.5
    for name, tensor in plain.classifier.state_dict().items():
        divided = tensor / calibrated.temperature if name.startswith("head.") else tensor
        assert torch.equal(calibrated.classifier.state_dict()[name], divided), name
    row = calibrated.history[1]
    assert row["val_calibrated_log_loss"] < row["val_log_loss"] - 0.1
    assert log_loss(calibrated.classifier, partly_wrong) == pytest.approx(
        row["val_calibrated_log_loss"], abs=1e-5
    )


def test_a_probe_that_is_handed_back_is_not_made_less_sure(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], partly_wrong: Labelled
) -> None:
    for changes in (
        {"val": wrong(shapes[0])},
        {"val": partly_wrong, "unfreeze": "none"},
        ONE_SMALL_STEP | {"train": partly_wrong, "val": partly_wrong, "interpolate": 0.0},
    ):
        result = tune(calibrate=True, **changes)
        assert result.temperature == 1
        assert classifier_bytes(result.classifier) == classifier_bytes(fitted_probe)


def test_an_epoch_that_is_only_too_sure_is_not_passed_over(tune: Tune, partly_wrong: Labelled) -> None:
    """Learning the right labels makes the probe surer of them: too sure for a val that knows them in part."""
    by_loss, by_calibrated = (
        tune(val=partly_wrong, max_epochs=5, selection_metric=metric)
        for metric in ("log_loss", "calibrated_log_loss")
    )
    assert by_loss.history == by_calibrated.history
    assert by_loss.best_epoch == 0
    assert by_calibrated.best_epoch > 0
    for result, name in ((by_loss, "val_log_loss"), (by_calibrated, "val_calibrated_log_loss")):
        assert result.best_epoch == int(np.argmin([row[name] for row in result.history]))


def test_selection_metric_chooses_the_epoch(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    by_loss, by_accuracy = (
        tune(val=shapes[0], max_epochs=4, selection_metric=metric) for metric in ("log_loss", "accuracy")
    )
    assert by_loss.history == by_accuracy.history
    accuracies = [row["val_accuracy"] for row in by_loss.history]
    assert accuracies[0] == accuracies[4] == 1
    assert by_accuracy.best_epoch == 0, "of equals the first"
    assert by_loss.best_epoch > 0


def test_training_stops_after_patience(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    result = tune(val=wrong(shapes[0]), max_epochs=9, patience=2)
    assert result.best_epoch == 0
    assert [row["epoch"] for row in result.history] == [0, 1, 2]


def test_fine_tuning_learns(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    result = tune(val=shapes[0], max_epochs=4)
    losses = [row["val_log_loss"] for row in result.history]
    assert min(losses) < 0.85 * losses[0]
    assert result.history[-1]["train_loss"] < result.history[1]["train_loss"]


def test_val_chooses_but_teaches_nothing(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    losses = [
        [row["train_loss"] for row in tune(val=val, max_epochs=3).history[1:]]
        for val in (shapes[1], wrong(shapes[1]))
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("micro_batch_size", [4, 7, 30, 100])
@pytest.mark.parametrize("num_stages", [2, 4])
def test_train_loss_is_the_mean_over_images_for_any_micro_batch(
    tune: Tune,
    fitted_probe: Classifier,
    shapes: tuple[Labelled, Labelled],
    num_stages: int,
    micro_batch_size: int,
) -> None:
    probe, train = fitted_probe, shapes[0]
    result = tune(
        probe, unfreeze=LastStages(num_stages), batch_size=30, micro_batch_size=micro_batch_size, max_epochs=1
    )
    # One update an epoch: its loss is the probe's. 1e-5: convolutions of float32 over other batches
    assert result.history[1]["train_loss"] == pytest.approx(log_loss(probe, train), abs=1e-5)


def test_gradient_is_summed_over_micro_batches(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    probe = fitted_probe
    whole, parts, uneven = (
        tune(probe, val=shapes[0], batch_size=30, micro_batch_size=size, max_epochs=1, learning_rate=1e-4)
        .classifier.head[0]
        .weight
        for size in (30, 10, 7)
    )
    step = (whole - probe.head[0].weight).abs().max()
    assert step > 5e-5
    # A hundredth of a step: AdamW's first step follows the sign of the gradient, not its size
    assert (whole - parts).abs().max() < step / 100
    assert (whole - uneven).abs().max() < step / 100


def test_training_views_are_drawn_from_the_set_and_val_is_seen_as_it_is(
    tune: Tune, store: Any, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    for views, count in (("identity", 1), ("mirror", 2), ("flips", 4), ("dihedral", 8)):
        store.arrays.clear()
        result = tune(views=views, max_epochs=1)
        assert len(store.arrays) == count + 1
        assert result.history[0]["val_log_loss"] == tune(max_epochs=0).history[0]["val_log_loss"]
    # One update on all: under views the loss is another one than on the images as they are.
    as_they_are, flipped = (
        tune(views=views, batch_size=30, max_epochs=1).history[1]["train_loss"]
        for views in ("identity", "flips")
    )
    assert as_they_are != pytest.approx(flipped, abs=1e-4)


def test_label_smoothing_enters_the_training_loss_alone(tune: Tune) -> None:
    plain, smooth = (tune(batch_size=30, label_smoothing=amount, max_epochs=1) for amount in (0.0, 0.3))
    assert plain.history[0] == smooth.history[0]
    assert plain.history[1]["train_loss"] != smooth.history[1]["train_loss"]


def test_mean_of_weights_by_hand(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    probe = fitted_probe
    # One update: a quarter of what it moved.
    moved_there, mean = (
        tune(probe, val=shapes[0], batch_size=30, max_epochs=1, averaging=decay, learning_rate=1e-4)
        .classifier.head[0]
        .weight
        for decay in (0.0, 0.75)
    )
    start = probe.head[0].weight
    # 1e-7: float32, of steps of 1e-4
    torch.testing.assert_close(mean, start + 0.25 * (moved_there - start), rtol=0, atol=1e-7)
    assert (moved_there - start).abs().min() > 5e-5


def test_what_is_measured_is_the_mean_of_weights(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    result = tune(averaging=0.9, max_epochs=3, val=shapes[0])
    assert result.best_epoch == 3
    # 1e-6: what is frozen runs with its norms folded in
    assert log_loss(result.classifier, shapes[0]) == pytest.approx(
        result.history[3]["val_log_loss"], abs=1e-6
    )
    plain = tune(averaging=0.0, max_epochs=3, val=shapes[0])
    assert (
        plain.history[1]["train_loss"] == result.history[1]["train_loss"]
    )  # training itself goes on unaveraged
    assert plain.history[3]["train_loss"] == result.history[3]["train_loss"]
    assert plain.history[3]["val_log_loss"] != result.history[3]["val_log_loss"]


def test_rates_follow_the_schedule_over_all_epochs(tune: Tune) -> None:
    result = tune(batch_size=15, learning_rate=1e-3)
    # Updates 1 and 3 of 0 to 3; the warm-up of 0.4 updates is over before the first.
    expected = [1e-3 * 0.5 * (1 + np.cos(np.pi * (step - 0.4) / 3.6)) for step in (1, 3)]
    assert [row["learning_rate"] for row in result.history[1:]] == pytest.approx(expected, rel=1e-9)


def test_a_binary_head_is_tuned_too(
    tune: Tune, make_probe: Callable[..., Classifier], draw_shapes: Callable
) -> None:
    train, val = (Labelled(*draw_shapes(count, num_classes=2, seed=count)) for count in (24, 10))
    result = tune(make_probe(("disc", "square")), train=train, val=val, max_epochs=4)
    assert result.history[-1]["train_loss"] < result.history[1]["train_loss"]
    assert log_loss(result.classifier, val) == pytest.approx(
        result.history[result.best_epoch]["val_log_loss"], abs=1e-6
    )


def test_weights_stay_float32_where_products_are_bfloat16(
    tune: Tune, compute: Compute, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled], store: Any
) -> None:
    result = fine_tune(
        fitted_probe,
        *shapes,
        settings=SETTINGS,
        compute=dataclasses.replace(compute, fast_dtype=torch.bfloat16),
        store=store,
        save_points=NoSavePoints(),
    )
    assert {tensor.dtype for tensor in result.classifier.parameters()} == {torch.float32}
    exact = tune()
    # bfloat16 at the border costs a few hundredths of the loss, no more
    assert result.history[0]["val_log_loss"] == pytest.approx(exact.history[0]["val_log_loss"], abs=0.05)
    assert result.history[0]["val_log_loss"] != exact.history[0]["val_log_loss"]


def test_more_stages_than_there_are_are_refused(tune: Tune) -> None:
    with pytest.raises(
        ValueError, match=r"last 5 is more than the 4 stages of efficientnet_lite0 \(stem, blocks.0"
    ):
        tune(unfreeze=LastStages(5))


def test_result_is_in_evaluation_mode_on_the_cpu_and_asks_for_no_gradient(tune: Tune) -> None:
    classifier = tune().classifier
    assert not any(module.training for module in classifier.modules())
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert classifier.device == torch.device("cpu")


def test_trained_parameters_are_counted_by_stage(fitted_probe: Classifier) -> None:
    probe = fitted_probe
    counts = num_trained(probe, LastStages(2))
    assert list(counts) == ["blocks.1", "blocks.2", "head"]
    assert counts["head"] == 40 * 3 + 3
    assert counts["blocks.2"] == sum(one.numel() for one in probe.backbone.stages["blocks.2"].parameters())
    assert dict(num_trained(probe, LastStages(0))) == {"head": 123}


def test_images_of_a_split_come_with_their_labels(draw_shapes: Callable) -> None:
    pixels, labels = draw_shapes(6)
    manifest = pd.DataFrame({"split": ["train", "val", "train", "test", "val", "train"], "kind": labels})
    train = labelled(pixels, manifest, "train", "kind")
    assert train.labels.tolist() == labels[[0, 2, 5]].tolist()
    assert np.array_equal(train.pixels[:], pixels[[0, 2, 5]])
    assert train.labels.dtype == np.int64


class KilledError(Exception):
    """The process is gone."""


class Interrupting(InMemory):
    """Save points at every update, and a kill after so many of them."""

    def __init__(self) -> None:
        super().__init__()
        self.num_writes = 0
        self.kill_after: int | None = None

    def is_due(self) -> bool:
        return True

    def write(self, name: str, data: bytes) -> None:
        super().write(name, data)
        self.num_writes += 1
        if self.num_writes == self.kill_after:
            raise KilledError


# 4 updates an epoch, a save point after each (the last of an epoch after measuring): 1 + 4 + 4
@pytest.mark.parametrize(
    ("kill_after", "more"),
    [(count, {}) for count in range(1, 9)]
    + [(count, AS_SHIPPED) for count in (3, 4)]  # 4: what is left of an epoch is the rest of a batch
    + [(6, {"unfreeze": "first"}), (3, {"unfreeze": "all", "batch_norm": "adapt"})],
)
def test_killed_training_goes_on_to_the_same_bits(tune: Tune, kill_after: int, more: dict[str, Any]) -> None:
    changes: dict[str, Any] = {"averaging": 0.9, "views": "flips", "learning_rate": 1e-3, **more}
    whole = tune(**changes)
    save_points = Interrupting()
    save_points.kill_after = kill_after
    with pytest.raises(KilledError):
        tune(save_points=save_points, **changes)
    resumed = tune(save_points=save_points, **changes)
    assert save_points.num_writes == 9, "what was done before the kill was done again"
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert classifier_bytes(resumed.classifier) == classifier_bytes(whole.classifier)


def test_training_stopped_early_is_gone_on_with_to_the_same_epoch(
    tune: Tune, shapes: tuple[Labelled, Labelled]
) -> None:
    changes: dict[str, Any] = {"val": wrong(shapes[0]), "max_epochs": 5, "patience": 2}
    whole = tune(**changes)
    save_points = Interrupting()
    save_points.kill_after = 7
    with pytest.raises(KilledError):
        tune(save_points=save_points, **changes)
    resumed = tune(save_points=save_points, **changes)
    assert [row["epoch"] for row in whole.history] == [0, 1, 2]
    assert (resumed.history, resumed.best_epoch) == (whole.history, whole.best_epoch)
    assert classifier_bytes(resumed.classifier) == classifier_bytes(whole.classifier)


def test_a_save_point_of_other_training_is_not_gone_on_from(tune: Tune) -> None:
    save_points = Interrupting()
    save_points.kill_after = 6
    with pytest.raises(KilledError):
        tune(save_points=save_points, seed=1)
    result = tune(save_points=save_points)
    assert classifier_bytes(result.classifier) == classifier_bytes(tune().classifier)


def even(split: Labelled, balance: Balance) -> Labelled:
    return dataclasses.replace(split, shares=learning_shares(split.labels, balance))


def test_weights_and_draws_change_what_is_learnt_and_what_is_best(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    rows = np.flatnonzero((shapes[0].labels > 0) | (np.arange(30) < 6))  # few discs
    train = Labelled(shapes[0].pixels[rows], shapes[0].labels[rows])
    balances: tuple[Balance, ...] = ("none", "class_weights", "balanced_sampler")
    histories = {
        balance: tune(fitted_probe, train=even(train, balance), unfreeze=LastStages(1), max_epochs=2).history
        for balance in balances
    }
    assert len({history[-1]["val_log_loss"] for history in histories.values()}) == 3
    plain = tune(fitted_probe, train=train, unfreeze=LastStages(1), max_epochs=2).history
    assert plain == histories["none"]


def test_balanced_val_counts_every_class_the_same(
    tune: Tune, fitted_probe: Classifier, shapes: tuple[Labelled, Labelled]
) -> None:
    val = even(shapes[1], "class_weights")
    history = tune(fitted_probe, val=val, unfreeze=LastStages(1), max_epochs=0).history
    probabilities = fitted_probe.target.answers(logits(fitted_probe, val)).numpy()
    expected = balanced_accuracy_score(val.labels, probabilities.argmax(axis=1))
    assert history[0]["val_accuracy"] == pytest.approx(expected)
    weighted = sklearn_log_loss(val.labels, probabilities, sample_weight=even_weights(val.labels))
    assert history[0]["val_log_loss"] == pytest.approx(weighted, abs=1e-6)


def test_a_rare_class_shown_by_weights_or_draws_is_labelled_from_the_manifest() -> None:
    manifest = pd.DataFrame({"split": ["train"] * 4 + ["val"] * 4, "kind": [0, 0, 0, 1, 1, 1, 1, 0]})
    pixels = np.zeros((8, 2, 2, 3), np.uint8)
    train = labelled(pixels, manifest, "train", "kind", "balanced_sampler").shares
    val = labelled(pixels, manifest, "val", "kind", "balanced_sampler").shares
    assert train is not None
    assert val is not None
    assert train.draws.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert train.weights.tolist() == [1, 1, 1, 1]
    assert val.weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])  # measured, not drawn
    assert val.draws.tolist() == [1, 1, 1, 1]


def test_probabilities_are_learnt_instead_of_labels(tune: Tune, shapes: tuple[Labelled, Labelled]) -> None:
    train, _ = shapes
    certain = np.eye(3, dtype=np.float32)[train.labels]

    def rows(targets: np.ndarray | None) -> list[dict[str, float]]:
        return tune(train=dataclasses.replace(train, targets=targets)).history[1:]

    for one, other in zip(rows(None), rows(certain), strict=True):
        assert one == pytest.approx(other, abs=1e-4)  # the same sums, rounded otherwise
    (epoch, *_), (plain, *_) = rows(np.full_like(certain, 1 / 3)), rows(None)
    assert (
        epoch["train_loss"] > np.log(3) > plain["train_loss"]
    )  # no model is better than ln 3 on coin tosses
    assert epoch["val_log_loss"] != pytest.approx(plain["val_log_loss"], abs=1e-3)  # it learnt something else


def test_images_of_train_come_with_probabilities_and_weights_those_of_val_with_labels() -> None:
    manifest = pd.DataFrame(
        {
            "split": ["train", "train", "val"],
            "kind": [0, 1, 1],
            "soft_a": [0.75, 0, 0.5],
            "soft_b": [0.25, 1, 0.5],
            "weight": [3.0, 1, 7],
        }
    )
    pixels = np.zeros((3, 2, 2, 3), np.uint8)
    train = labelled(pixels, manifest, "train", "kind", learn_from="probabilities", label_names=("a", "b"))
    assert train.targets is not None
    assert train.targets.tolist() == [0.25, 1]
    assert train.shares is not None
    assert train.shares.weights.tolist() == [1.5, 0.5]
    val = labelled(pixels, manifest, "val", "kind", learn_from="probabilities", label_names=("a", "b"))
    assert val.targets is None
    assert val.shares is not None
    assert val.shares.weights.tolist() == [1]
    assert labelled(pixels, manifest, "train", "kind").targets is None
