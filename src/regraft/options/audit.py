"""What the step `audit` may be told: who judges the labels, and how many are shown."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.linear_probe import SolverSettings
    from regraft.training.nystrom import Kernel

_Penalties = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class LinearJudgeOptions(Options):
    """Linear probes.

    Attributes:
        penalties: L2 penalties to choose from; a fold's is chosen in the other folds.
    """

    kind: Literal["linear"]
    penalties: _Penalties = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)

    def kernel(self) -> None:
        """None."""


class KernelJudgeOptions(Options):
    """Probes on nearness to the images they learn from.

    Attributes:
        num_centres: Images that nearness is measured to; all of them where there are no more.
        gamma: How fast nearness falls with the mean squared difference of standardised features.
        penalties: Of the function's norm, to choose from; a fold's is chosen in the other folds.
    """

    kind: Literal["kernel"]
    num_centres: Annotated[int, Field(ge=1, le=20000)] = 2000
    gamma: Annotated[float, Field(gt=0)] = 1.0
    penalties: _Penalties = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)

    def kernel(self) -> "Kernel":
        """What nearness is."""
        from regraft.training.nystrom import Kernel

        return Kernel(num_centres=self.num_centres, gamma=self.gamma)


class AuditOptions(Options):
    """The probes that judge labels they were not trained on, and what is shown of it.

    Attributes:
        hold_out: What is never on both sides of a fold beside copies of an image: its whole group, or nothing more.
        head: What the probes are.
        num_folds: Each image is judged by a probe trained on the other folds.
        num_shown: Images on the page, the likeliest wrong first.
        num_resamples: Of the bootstrap around the share of wrong labels.
        confidence: Of its interval.
        seed: Shuffles the folds, draws centres and resamples.
    """

    hold_out: Literal["groups", "images"]
    head: Annotated[LinearJudgeOptions | KernelJudgeOptions, Field(discriminator="kind")]
    num_folds: Annotated[int, Field(ge=2, le=20)]
    num_shown: Annotated[int, Field(ge=1, le=1000)]
    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def settings(self) -> "SolverSettings":
        """How the probes are solved."""
        from regraft.training.linear_probe import SolverSettings

        return SolverSettings(
            penalties=self.head.penalties,
            num_folds=self.num_folds,
            tolerance=1e-4,  # rounds probabilities in the fourth digit; the head's own is 1e-6
            max_iterations=5000,
            seed=self.seed,
        )
