"""What the step `fine_tune` may be told: which stages are unfrozen and how gently they move."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator

from regraft.backbones.stage_choice import Unfreeze, parse_unfreeze, said_unfreeze
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.fine_tune import FineTuneSettings

_FROM_SCRATCH: dict[str, Any] = {
    "unfreeze": "all",
    "batch_norm": "adapt",
    "depthwise": "trained",
    "layer_decay": 1.0,
    "averaging": 0.0,  # a mean over few updates would hold much of the random start
    "interpolate": "none",
}
_Views = Literal["identity", "mirror", "flips", "dihedral"]


class SearchOptions(Options):
    """How `unfreeze: auto` searches.

    Attributes:
        rounds: Rounds of short trainings; each has half the candidates and twice the epochs of the one before.
        min_updates: Of a short training.
        take: The `mean` of the weights of all, each counting what `val` says of it, or `one` candidate.
        noise: Where one is taken, standard errors within which the cheaper candidate is preferred.
    """

    rounds: Annotated[int, Field(ge=1, le=6)]
    min_updates: Annotated[int, Field(ge=1)]
    take: Literal["mean", "one"]
    noise: Annotated[float, Field(ge=0)]


class ScratchOptions(Options):
    """What is different where training starts from random weights; everything is trained then.

    Attributes:
        learning_rate: In every stage, at the top of the schedule.
        weight_decay: AdamW's.
        max_epochs: Null: those of fine-tuning.
    """

    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_epochs: Annotated[int, Field(ge=0)] | None


class FineTuneOptions(Options):
    """Stages, rates, epochs, views.

    Attributes:
        start: From the probe, or from `scratch`: random weights, everything trained, as `scratch` says.
        scratch: See there.
        search: How `unfreeze: auto` searches.
        interpolate: The model kept lies between the probe (0) and the best epoch (1).
        calibrate: Whether its probabilities are made less sure where `val` says so; the classes stay.
        unfreeze: Which stages are trained: `none`, `first`, `all`, `auto`, `last 3`, or their names.
        batch_norm: Whether statistics of norms stay those of the pretraining or adapt in the trained stages.
        depthwise: Whether depthwise convolutions of those stages move too; on a CPU that doubles a step.
        learning_rate: Of the head, at the top of the schedule.
        layer_decay: Factor from each stage to the one below it.
        weight_decay: AdamW's.
        warmup_fraction: Part of all updates in which the rate climbs.
        max_gradient_norm: Longer gradients are shortened to it.
        max_epochs: Epochs at most; the cosine spans them all.
        patience: Epochs without a better `selection_metric` on `val` after which training stops.
        selection_metric: What the best epoch is best at; `calibrated_log_loss` is log-loss without being too sure.
        batch_size: Images an update.
        micro_batch_size: Images whose gradient is computed at once; several run side by side on a CPU.
        label_smoothing: Fraction of each label spread over all classes.
        views: Views that training draws from: only ones that never change a label.
        views_per_image: In how many of these an image is shown, itself and others drawn for each; None: in all.
        predict_views: Views averaged whenever the classifier predicts; each costs a forward pass.
        averaging: Decay an update of the running mean of weights that is measured and kept; 0 is off.
        seed: Orders images, draws views.
    """

    start: Literal["probe", "scratch"]
    scratch: ScratchOptions
    search: SearchOptions
    interpolate: Literal["none", "auto"] | Annotated[float, Field(ge=0, le=1)]
    calibrate: bool
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
    selection_metric: Literal["calibrated_log_loss", "log_loss", "accuracy"]
    batch_size: Annotated[int, Field(ge=1)]
    micro_batch_size: Annotated[int, Field(ge=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    views: _Views
    views_per_image: Annotated[int, Field(ge=2)] | None
    predict_views: _Views
    averaging: Annotated[float, Field(ge=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def settings(self) -> "FineTuneSettings":
        """How much is trained, and how; from scratch all of it, and nothing that only makes sense from a probe."""
        from regraft.training.fine_tune import FineTuneSettings
        from regraft.training.optimiser import OptimiserSettings
        from regraft.training.unfreeze_search import SearchSettings

        optimiser = {"learning_rate", "layer_decay", "weight_decay", "warmup_fraction", "max_gradient_norm"}
        said = self.model_dump(exclude={"predict_views", "scratch", "search", "unfreeze"})
        said["unfreeze"] = self.unfreeze
        if self.start == "scratch":
            changed = self.scratch.model_dump(exclude_none=True)
            said |= changed | _FROM_SCRATCH
        return FineTuneSettings(
            optimiser=OptimiserSettings(**{name: said.pop(name) for name in optimiser}),
            search=SearchSettings(**self.search.model_dump()),
            **said,
        )
