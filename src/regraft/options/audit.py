"""What the step `audit` may be told: who judges the labels, and how many are shown."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.linear_probe import SolverSettings


class AuditOptions(Options):
    """The probes that judge labels they were not trained on, and what is shown of it.

    Attributes:
        hold_out: What is never on both sides of a fold beside copies of an image: its whole group, or nothing more.
        num_folds: Each image is judged by a probe trained on the other folds.
        penalties: L2 penalties to choose from; a fold's is chosen in the other folds.
        num_shown: Images on the page, the likeliest wrong first.
        num_resamples: Of the bootstrap around the share of wrong labels.
        confidence: Of its interval.
        seed: Shuffles the folds, draws the resamples.
    """

    hold_out: Literal["groups", "images"]
    num_folds: Annotated[int, Field(ge=2, le=20)]
    penalties: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]
    num_shown: Annotated[int, Field(ge=1, le=1000)]
    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def settings(self) -> "SolverSettings":
        """How the probes are solved: as the head is."""
        from regraft.training.linear_probe import SolverSettings

        return SolverSettings(
            penalties=self.penalties,
            num_folds=self.num_folds,
            tolerance=1e-4,  # rounds probabilities in the fourth digit; the head's own is 1e-6
            max_iterations=5000,
            seed=self.seed,
        )
