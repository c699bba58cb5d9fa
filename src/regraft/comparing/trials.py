"""One trial of a sweep: a head fitted on cached features, then fine-tuning from cached border activations.

Knows networks and images; nothing of which setting comes next.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.classifier import assemble
from regraft.classifier.files import Head
from regraft.comparing.bench import Stopwatch
from regraft.comparing.sweep import Outcome, Setting
from regraft.heads.layers import AnyLayers
from regraft.images.preprocessing import Preprocessing
from regraft.save_points import InMemory
from regraft.training.border import ArrayStore
from regraft.training.fine_tune import FineTuneSettings, fine_tune, labelled
from regraft.training.head import HeadSettings, fit_head
from regraft.training.reproducibility import Compute

HeadRecipe = tuple[AnyLayers, HeadSettings]


@dataclass(frozen=True)
class TrialBench:
    """What all trials have in common.

    Attributes:
        backbone: Frozen.
        features: `(N, D)` float32 of every stage.
        pixels: `(N, S, S, 3 or 1)` uint8.
        manifest: Splits, labels, groups.
        label_names: The one target.
        preprocessing: Of the backbone.
        heads: How a head of each kind is made and fitted.
        fine_tune: All that a setting does not say.
        activations: Keeps border activations.
        compute: Device, precision, streams.
    """

    backbone: Backbone
    features: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    manifest: pd.DataFrame
    label_names: dict[str, list[str]]
    preprocessing: Preprocessing
    heads: dict[str, HeadRecipe]
    fine_tune: FineTuneSettings
    activations: ArrayStore
    compute: Compute
    _fitted: dict[str, Head] = field(default_factory=dict)

    def identity(self) -> str:
        """All that an outcome follows from beside its setting, hashed."""
        columns = ["sha256", "split", next(iter(self.label_names)), "group"]
        facts: list[Any] = [
            self.manifest[columns].to_csv(index=False),
            self.label_names,
            tensor_digest(self.backbone),
            self.backbone.cut,
            self.preprocessing.model_dump_json(),
            sorted(self.heads.items()),
            self.fine_tune,
            self.compute.fast_dtype,
            self.compute.device,
        ]
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def head(self, kind: str) -> Head:
        """The head of a kind, fitted once."""
        if kind not in self._fitted:
            layers, settings = self.heads[kind]
            self._fitted[kind], _ = fit_head(
                self.features,
                self.backbone.feature_dims,
                self.manifest,
                self.label_names,
                layers=layers,
                settings=settings,
            )
        return self._fitted[kind]


def try_setting(setting: Setting, bench: TrialBench) -> Outcome:
    """Fit the head, fine-tune from it, and say how good the best epoch is on val."""
    column = next(iter(bench.label_names))
    watch = Stopwatch()
    with watch:
        optimiser = replace(
            bench.fine_tune.optimiser, learning_rate=setting.learning_rate, weight_decay=setting.weight_decay
        )
        result = fine_tune(
            assemble(bench.backbone, bench.head(setting.head), bench.preprocessing, views="identity"),
            labelled(bench.pixels, bench.manifest, "train", column),
            labelled(bench.pixels, bench.manifest, "val", column),
            settings=replace(bench.fine_tune, optimiser=optimiser, views=setting.views),
            compute=bench.compute,
            store=bench.activations,
            save_points=InMemory(),
        )
    return Outcome(
        result.val["val_log_loss"], result.val["val_accuracy"], result.best_epoch, watch.cost.seconds
    )
