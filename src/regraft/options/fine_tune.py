"""What the step `fine_tune` may be told: which stages are unfrozen and how gently they move."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from regraft.backbones.stage_choice import Unfreeze, parse_unfreeze, said_unfreeze
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings

_Views = Literal["identity", "mirror", "flips", "dihedral"]


class FineTuneOptions(Options):
    """Stages, rates, epochs, views.

    Attributes:
        unfreeze: Which stages are trained: `none`, `first`, `all`, `{last: 3}`, or their names.
        batch_norm: Whether statistics of norms stay those of the pretraining or adapt in the trained stages.
        depthwise: Whether depthwise convolutions of those stages move too; on a CPU that doubles a step.
        learning_rate: Of the head, at the top of the schedule.
        layer_decay: Factor from each stage to the one below it.
        weight_decay: AdamW's.
        warmup_fraction: Part of all updates in which the rate climbs.
        max_gradient_norm: Longer gradients are shortened to it.
        max_epochs: Epochs at most; the cosine spans them all.
        patience: Epochs without a better `selection_metric` on `val` after which training stops.
        selection_metric: What the best epoch is best at.
        batch_size: Images an update.
        micro_batch_size: Images whose gradient is computed at once; several run side by side on a CPU.
        label_smoothing: Fraction of each label spread over all classes.
        views: Views that training draws from: only ones that never change a label.
        predict_views: Views averaged whenever the classifier predicts; each costs a forward pass.
        averaging: Decay an update of the running mean of weights that is measured and kept; 0 is off.
        seed: Orders images, draws views.
    """

    unfreeze: Annotated[Unfreeze, PlainValidator(parse_unfreeze), PlainSerializer(said_unfreeze)]
    batch_norm: Literal["frozen", "adapt"]
    depthwise: Literal["trained", "frozen"]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]
    max_gradient_norm: Annotated[float, Field(gt=0)]
    max_epochs: Annotated[int, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)]
    selection_metric: Literal["log_loss", "accuracy"]
    batch_size: Annotated[int, Field(ge=1)]
    micro_batch_size: Annotated[int, Field(ge=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    views: _Views
    predict_views: _Views
    averaging: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def settings(self) -> "FineTuneSettings":
        """How much is trained, and how."""
        from regraft.training.fine_tune import FineTuneSettings
        from regraft.training.optimiser import OptimiserSettings

        optimiser = {"learning_rate", "layer_decay", "weight_decay", "warmup_fraction", "max_gradient_norm"}
        return FineTuneSettings(
            optimiser=OptimiserSettings(**self.model_dump(include=optimiser)),
            unfreeze=self.unfreeze,
            **self.model_dump(exclude=optimiser | {"predict_views", "unfreeze"}),
        )
