"""What the step `train_head` may be told: which layers, and when they count as fitted."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from regraft.heads.layers import AnyLayers, KernelLayers, LinearLayers, MlpLayers
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.head import HeadSettings
    from regraft.training.linear_probe import SolverSettings
    from regraft.training.mlp_head import MlpSettings

_Positive = Annotated[float, Field(gt=0)]


class LinearHeadOptions(Options):
    """A linear layer, solved.

    Attributes:
        penalties: L2 penalties to choose from by cross-validation within train.
        num_folds: Folds of it; a group is never on both sides.
        tolerance: Solved when no entry of the gradient exceeds it.
        max_iterations: A stop for what does not converge.
        seed: Shuffles the folds.
    """

    kind: Literal["linear"]
    penalties: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (
        10.0,
        3.0,
        1.0,
        0.3,
        0.1,
        0.03,
        0.01,
        0.003,
        0.001,
    )
    num_folds: Annotated[int, Field(ge=2, le=20)] = 5
    tolerance: _Positive = 1e-6
    max_iterations: Annotated[int, Field(ge=1)] = 5000
    seed: Annotated[int, Field(ge=0)] = 0

    def layers(self) -> LinearLayers:
        """What the head is made of."""
        return LinearLayers()

    def settings(self) -> "SolverSettings":
        """How it is fitted."""
        from regraft.training.linear_probe import SolverSettings

        return SolverSettings(**self.model_dump(exclude={"kind"}))


class MlpHeadOptions(Options):
    """Hidden layers, trained until `val` stops getting better.

    Attributes:
        hidden_sizes: Widths of the hidden layers.
        dropout: After each hidden layer, while the head is trained.
        learning_rate: AdamW's.
        weight_decay: AdamW's.
        batch_size: Images an update.
        max_epochs: A stop for what does not converge.
        patience: Epochs without a lower log-loss on `val` after which it has converged.
        seed: Initial weights, order, dropout.
    """

    kind: Literal["mlp"]
    hidden_sizes: Annotated[tuple[Annotated[int, Field(ge=1, le=65536)], ...], Field(min_length=1)] = (256,)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    learning_rate: _Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    batch_size: Annotated[int, Field(ge=1)] = 64
    max_epochs: Annotated[int, Field(ge=1)] = 200
    patience: Annotated[int, Field(ge=1)] = 10
    seed: Annotated[int, Field(ge=0)] = 0

    def layers(self) -> MlpLayers:
        """What the head is made of."""
        return MlpLayers(kind="mlp", hidden_sizes=self.hidden_sizes, dropout=self.dropout)

    def settings(self) -> "MlpSettings":
        """How it is fitted."""
        from regraft.training.mlp_head import MlpSettings

        return MlpSettings(**self.model_dump(exclude={"kind", "hidden_sizes", "dropout"}))


class KernelHeadOptions(Options):
    """Nearness to images learnt from, then a linear layer, solved.

    Attributes:
        num_centres: Training images that nearness is measured to; all of them where there are no more.
        gamma: How fast nearness falls with the mean squared difference of standardised features.
        penalties: Of the function's norm, to choose from by cross-validation within train.
        num_folds: Folds of it; a group is never on both sides.
        tolerance: Solved when no entry of the gradient exceeds it.
        max_iterations: A stop for what does not converge.
        seed: Draws centres, shuffles the folds.
    """

    kind: Literal["kernel"]
    num_centres: Annotated[int, Field(ge=1, le=20000)] = 2000
    gamma: _Positive = 1.0
    penalties: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (1e-3, 1e-4, 3e-5, 1e-5)
    num_folds: Annotated[int, Field(ge=2, le=20)] = 3
    tolerance: _Positive = 1e-5
    max_iterations: Annotated[int, Field(ge=1)] = 5000
    seed: Annotated[int, Field(ge=0)] = 0

    def layers(self) -> KernelLayers:
        """What the head is made of."""
        return KernelLayers(kind="kernel", num_centres=self.num_centres, gamma=self.gamma)

    def settings(self) -> "SolverSettings":
        """How it is fitted."""
        from regraft.training.linear_probe import SolverSettings

        return SolverSettings(**self.model_dump(exclude={"kind", "num_centres", "gamma"}))


class TrainHeadOptions(Options):
    """The new head.

    Attributes:
        head: Its layers and how they are fitted.
        features: What it sees: the pooled features of the `last` stage kept, of all stages kept side by side
            (`concat`), or of the stages named.
        balance: What is done about classes of unequal size, here and in fine-tuning; `auto` chooses on `val`.
        learn_from: The labels, the probabilities that the source gives beside them, or the mean of both, here and in
            fine-tuning.
        views_seen: What the head sees of the views that `build_backbone.views` adds: each as an image of its own, or
            the mean of their features; whoever predicts with it averages the same.
    """

    features: Literal["last", "concat"] | Annotated[tuple[str, ...], Field(min_length=1)] = "last"
    balance: Literal["none", "class_weights", "balanced_sampler", "auto"]
    learn_from: Literal["labels", "probabilities", "both"] = "labels"
    views_seen: Literal["each", "mean"] = "each"
    head: Annotated[LinearHeadOptions | MlpHeadOptions | KernelHeadOptions, Field(discriminator="kind")]

    def solver_settings(self) -> "SolverSettings":
        """How a linear probe is solved: as the head where that is linear, else as one with nothing set."""
        linear = self.head if isinstance(self.head, LinearHeadOptions) else LinearHeadOptions(kind="linear")
        return linear.settings()

    def recipe(self, kind: Literal["linear", "mlp", "kernel"]) -> "tuple[AnyLayers, HeadSettings]":
        """A head of a kind and how it is fitted: this one where it is of that kind, else one with nothing set."""
        head: LinearHeadOptions | MlpHeadOptions | KernelHeadOptions
        if kind == self.head.kind:
            head = self.head
        elif kind == "linear":
            head = LinearHeadOptions(kind="linear")
        elif kind == "mlp":
            head = MlpHeadOptions(kind="mlp")
        else:
            head = KernelHeadOptions(kind="kernel")
        return head.layers(), head.settings()
