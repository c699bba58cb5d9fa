"""What the step `probe` may be told: how depths are probed, and what decides between them."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.linear_probe import SolverSettings

_Positive = Annotated[float, Field(gt=0)]


class ProbeOptions(Options):
    """Linear probes at every depth, cross-validated within train.

    Attributes:
        penalties: L2 penalties to choose from, for each fold on the others.
        num_folds: Folds; a group is never on both sides.
        tolerance: Solved when no entry of the gradient exceeds it.
        max_iterations: A stop for what does not converge.
        selection_metric: What `build_backbone.cut: auto` goes by.
        num_resamples: Bootstrap resamples, of whole groups.
        confidence: Of every interval.
        seed: Shuffles the folds, draws the resamples.
    """

    penalties: Annotated[tuple[_Positive, ...], Field(min_length=1)]
    num_folds: Annotated[int, Field(ge=2, le=20)]
    tolerance: _Positive
    max_iterations: Annotated[int, Field(ge=1)]
    selection_metric: Literal["log_loss", "accuracy"]
    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def settings(self) -> "SolverSettings":
        """How each probe is fitted."""
        from regraft.training.linear_probe import SolverSettings

        solver = {"penalties", "num_folds", "tolerance", "max_iterations", "seed"}
        return SolverSettings(**self.model_dump(include=solver))
