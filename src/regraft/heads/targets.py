"""Classes that a head predicts: a column of the manifest, its labels, their loss and their probabilities.

Knows nothing of backbones, files or how a head is trained.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from torch import Tensor


class _Classes(BaseModel):
    """Exclusive classes of one column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    label_names: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """Columns of what is learnt."""
        return 1

    @property
    def answer_names(self) -> tuple[str, ...]:
        """Names of the columns of `answers`."""
        return self.label_names


class BinaryTarget(_Classes):
    """Two classes, one logit: the sigmoid gives the probability of the second label."""

    kind: Literal["binary"] = "binary"
    label_names: tuple[str, str]

    @property
    def num_outputs(self) -> int:
        """Logits a head must give."""
        return 1

    def loss(
        self, logits: "Tensor", labels: "Tensor", *, label_smoothing: float, weights: "Tensor | None" = None
    ) -> "Tensor":
        """Mean binary cross-entropy.

        Args:
            logits: `(B, 1)` float.
            labels: `(B,)` int64 in {0, 1}, or float in [0, 1]: the probability of the second label.
            label_smoothing: Fraction in [0, 1) of each label spread evenly over both classes.
            weights: `(B,)` float, by which each image's loss is multiplied; the sum is divided by B all the same.

        Returns:
            A scalar, in nats.
        """
        from torch.nn import functional

        targets = _smoothed(labels, logits, label_smoothing)
        return functional.binary_cross_entropy_with_logits(logits.squeeze(1), targets, weights)

    def losses(self, logits: "Tensor", labels: "Tensor", *, label_smoothing: float) -> "Tensor":
        """As `loss`, `(B,)`: of each image."""
        from torch.nn import functional

        targets = _smoothed(labels, logits, label_smoothing)
        return functional.binary_cross_entropy_with_logits(logits.squeeze(1), targets, reduction="none")

    def answers(self, logits: "Tensor") -> "Tensor":
        """`(B, 1)` logits to `(B, 2)` float64 probabilities; rows sum to 1."""
        import torch

        positive = torch.sigmoid(logits.double())
        return torch.cat([1 - positive, positive], dim=1)


class MulticlassTarget(_Classes):
    """K ≥ 2 exclusive classes, K logits, softmax."""

    kind: Literal["multiclass"] = "multiclass"
    label_names: tuple[str, ...] = Field(min_length=2)

    @property
    def num_outputs(self) -> int:
        """Logits a head must give."""
        return len(self.label_names)

    def loss(
        self, logits: "Tensor", labels: "Tensor", *, label_smoothing: float, weights: "Tensor | None" = None
    ) -> "Tensor":
        """Mean cross-entropy.

        Args:
            logits: `(B, K)` float.
            labels: `(B,)` int64 in [0, K), or `(B, K)` float class probabilities.
            label_smoothing: Fraction in [0, 1) of each label spread evenly over all classes.
            weights: `(B,)` float, by which each image's loss is multiplied; the sum is divided by B all the same.

        Returns:
            A scalar, in nats.
        """
        losses = self.losses(logits, labels, label_smoothing=label_smoothing)
        return (losses if weights is None else losses * weights).mean()

    def losses(self, logits: "Tensor", labels: "Tensor", *, label_smoothing: float) -> "Tensor":
        """As `loss`, `(B,)`: of each image."""
        from torch.nn import functional

        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")

    def answers(self, logits: "Tensor") -> "Tensor":
        """`(B, K)` logits to `(B, K)` float64 probabilities; rows sum to 1."""
        import torch

        return torch.softmax(logits.double(), dim=1)


def _smoothed(labels: "Tensor", logits: "Tensor", label_smoothing: float) -> "Tensor":
    """The probability of the second of two labels that is learnt, as the logits' type."""
    return labels.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2


def target_for(column: str, label_names: tuple[str, ...]) -> BinaryTarget | MulticlassTarget:
    """The plain target of a label column: binary for two labels, multi-class for more.

    Args:
        column: The manifest's column.
        label_names: At least two, in label order; of two, the second is the positive one.

    Raises:
        ValueError: If there are fewer than two labels.
    """
    if len(label_names) < 2:
        raise ValueError(
            f"column {column!r} has {len(label_names)} label(s) {list(label_names)}; a classifier needs two"
        )
    if len(label_names) == 2:
        return BinaryTarget(column=column, label_names=(label_names[0], label_names[1]))
    return MulticlassTarget(column=column, label_names=label_names)
