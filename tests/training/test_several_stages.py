"""Fine-tuning below a head on several stages: from the probe on, wherever the border lies."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.backbones.stage_choice import LastStages
from regraft.classifier import Classifier, assemble
from regraft.images.preprocessing import Preprocessing
from regraft.save_points import NoSavePoints
from regraft.training.border import border_inputs
from regraft.training.fine_tune import FineTuned, FineTuneSettings, Labelled, fine_tune
from regraft.training.optimiser import OptimiserSettings
from regraft.training.reproducibility import Compute
from regraft.training.unfreeze_search import SearchSettings

STAGES = ("stem", "blocks.1", "blocks.2")
SETTINGS = FineTuneSettings(
    unfreeze=LastStages(1),
    start="probe",
    search=SearchSettings(rounds=2, min_updates=1, take="one", noise=1.0),
    interpolate="none",
    calibrate=False,
    batch_norm="frozen",
    depthwise="trained",
    optimiser=OptimiserSettings(1e-3, 0.8, 0.0, 0.0, 5.0),
    max_epochs=1,
    patience=9,
    selection_metric="log_loss",
    batch_size=30,
    micro_batch_size=8,
    label_smoothing=0.0,
    views="mirror",
    views_per_image=None,
    averaging=0.0,
    seed=0,
)


@pytest.fixture
def probe(
    make_backbone: Callable[..., Backbone], make_head: Callable, preprocessing: Preprocessing
) -> Classifier:
    backbone = make_backbone()
    return assemble(backbone, make_head(backbone, stages=STAGES), preprocessing, views="identity")


@pytest.fixture
def tune(
    probe: Classifier, shapes: tuple[Labelled, Labelled], compute: Compute, store: Any
) -> Callable[..., FineTuned]:
    def run(**changes: Any) -> FineTuned:
        settings = dataclasses.replace(SETTINGS, **changes)
        return fine_tune(
            probe, *shapes, settings=settings, compute=compute, store=store, save_points=NoSavePoints()
        )

    return run


@pytest.mark.parametrize("unfreeze", ["none", LastStages(0), LastStages(1), LastStages(3), "all"])
def test_epoch_0_is_the_probe(
    probe: Classifier, shapes: tuple[Labelled, Labelled], tune: Callable, unfreeze: Any
) -> None:
    val = shapes[1]
    result = tune(unfreeze=unfreeze, max_epochs=0)
    of_label = probe.predict_pixels(val.pixels)[np.arange(len(val.labels)), val.labels]
    # 1e-5: frozen stages are fused, rounded otherwise by parts in ten million; so are their pooled features
    assert result.history[0]["val_log_loss"] == pytest.approx(-np.log(of_label).mean(), abs=1e-5)


@pytest.mark.parametrize("unfreeze", [LastStages(1), LastStages(2), ("blocks.1",)])
def test_trained_stages_and_the_head_move_and_nothing_else(
    probe: Classifier, tune: Callable, unfreeze: Any
) -> None:
    result = tune(unfreeze=unfreeze)
    moved = {
        stage
        for stage in probe.backbone.stages
        if tensor_digest(probe.backbone.stages[stage])
        != tensor_digest(result.classifier.backbone.stages[stage])
    }
    wanted = {
        ("blocks.1",): {"blocks.1"},
        LastStages(1): {"blocks.2"},
        LastStages(2): {"blocks.1", "blocks.2"},
    }
    assert result.best_epoch == 1
    assert moved == wanted[unfreeze]
    assert result.classifier.stages == STAGES


def test_the_loss_flows_into_stages_the_head_sees_beside_the_last(
    probe: Classifier, shapes: tuple[Labelled, Labelled], tune: Callable
) -> None:
    # A head that looks at blocks.1 alone: only through its own pooled features can the loss reach it.
    with torch.no_grad():
        weight = probe.head[0].weight
        weight[:, :32] = 0
        weight[:, 32 + 24 :] = 0
    result = tune(unfreeze=("blocks.1",), max_epochs=3)
    train = shapes[0]
    losses = [
        -np.log(one.predict_pixels(train.pixels)[np.arange(30), train.labels]).mean()
        for one in (probe, result.classifier)
    ]
    assert result.best_epoch > 0
    assert losses[1] < losses[0]


def test_pooled_features_of_earlier_stages_are_kept_with_the_activation(
    probe: Classifier, shapes: tuple[Labelled, Labelled], compute: Compute, store: Any
) -> None:
    pixels = shapes[0].pixels[:6]

    def inputs_before(stage: str, **options: Any) -> Any:
        return border_inputs(
            probe.backbone,
            stage,
            pixels,
            probe.preprocessing,
            views="mirror",
            batch_size=4,
            compute=compute,
            store=store,
            **options,
        )

    inputs = inputs_before("blocks.1", stages=STAGES)
    rows, views = np.array([4, 0, 2]), np.array([1, 0, 1])
    pooled = inputs.pooled(rows, views)
    assert list(pooled) == ["stem"], "that of the border itself is pooled from its activation"
    plain = inputs_before("blocks.1")
    assert torch.equal(inputs.batch(rows, views), plain.batch(rows, views))
    assert plain.pooled(rows, views) == {}
    before_stem = inputs_before("stem")
    wanted = before_stem.batch(rows, views).mean(dim=(2, 3))
    torch.testing.assert_close(pooled["stem"], wanted, rtol=1e-5, atol=1e-6)
