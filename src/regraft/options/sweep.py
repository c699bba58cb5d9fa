"""What the pipeline `sweep` may be told: which settings are tried, how often and how long."""

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.comparing.sweep import Space

_Rate = Annotated[float, Field(gt=0, le=1)]
_Views = Literal["identity", "mirror", "flips", "dihedral"]
_Head = Literal["linear", "mlp", "kernel"]


class SweepOptions(Options):
    """Space and budget.

    Attributes:
        learning_rate: Of `fine_tune`: least and largest, searched on a logarithmic scale.
        weight_decay: Of `fine_tune`: the same.
        heads: Kinds of `train_head.head`.
        views: Of `fine_tune`: what training may show instead of the image itself.
        objective: Of the best epoch on `val`: the least log-loss, or the highest accuracy.
        max_trials: Settings tried at most, the present ones first; more of them later go on from there.
        max_minutes: Of all trials together; none is begun that is expected not to fit.
        seed: Draws the settings.
    """

    learning_rate: tuple[_Rate, _Rate]
    weight_decay: tuple[_Rate, _Rate]
    heads: Annotated[tuple[_Head, ...], Field(min_length=1)]
    views: Annotated[tuple[_Views, ...], Field(min_length=1)]
    objective: Literal["log_loss", "accuracy"]
    max_trials: Annotated[int, Field(ge=1, le=10_000)]
    max_minutes: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]

    def space(self) -> "Space":
        """The settings that may be tried."""
        from regraft.comparing.sweep import Space

        return Space(self.learning_rate, self.weight_decay, self.heads, self.views)

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        for name in ("learning_rate", "weight_decay"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name} must be the least and the largest, got [{low:g}, {high:g}]")
        for name in ("heads", "views"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names one twice: {', '.join(values)}")
        return self
