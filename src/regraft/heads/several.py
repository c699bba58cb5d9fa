"""Several targets of one image in one head: classes, numbers and key points side by side.

Knows nothing of backbones, files or how a head is trained.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from regraft.heads.numbers import NumbersTarget
from regraft.heads.targets import BinaryTarget, MulticlassTarget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Member = BinaryTarget | MulticlassTarget | NumbersTarget


class SeveralTargets(BaseModel):
    """Targets whose outputs lie side by side; their losses are summed, all being nats.

    Attributes:
        members: In the order of their outputs, labels and answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["several"] = "several"
    members: tuple[Annotated[Member, Field(discriminator="kind")], ...] = Field(min_length=1)

    @property
    def column(self) -> str:
        """The names of all."""
        return ", ".join(member.column for member in self.members)

    @property
    def num_outputs(self) -> int:
        """Outputs a head must give."""
        return sum(member.num_outputs for member in self.members)

    @property
    def answer_names(self) -> tuple[str, ...]:
        """Names of the columns of `answers`: `gender=female`, `gender=male`, `age`."""
        return tuple(
            name if isinstance(member, NumbersTarget) else f"{member.column}={name}"
            for member in self.members
            for name in member.answer_names
        )

    def loss(
        self, logits: "Tensor", labels: "Tensor", *, label_smoothing: float, weights: "Tensor | None" = None
    ) -> "Tensor":
        """Mean over the images of the sum of all losses.

        Args:
            logits: `(B, O)` float.
            labels: `(B, L)` float, as `learnt` gives them.
            label_smoothing: Fraction in [0, 1) of each class label spread evenly over all its classes.
            weights: `(B,)` float, by which each image's loss is multiplied; the sum is divided by B all the same.

        Returns:
            A scalar, in nats.
        """
        total = logits.new_zeros(len(logits))
        for member, of_outputs, of_labels, _ in self.parts():
            total = total + _losses(member, logits[:, of_outputs], labels[:, of_labels], label_smoothing)
        return (total if weights is None else total * weights).mean()

    def learnt(self, labels: "NDArray[np.float64]") -> "NDArray[np.float32]":
        """What `loss` takes of labels `(N, L)`: a column a class target (the number of its class) and one a number in
        its own unit, two a point."""
        import numpy as np

        columns = [
            member.learnt(labels[:, own]) if isinstance(member, NumbersTarget) else labels[:, own]
            for member, _, own, _ in self.parts()
        ]
        return np.concatenate(columns, axis=1).astype(np.float32)

    def answers(self, logits: "Tensor") -> "Tensor":
        """`(B, O)` outputs to `(B, A)` float64: probabilities of classes, numbers in their own unit, side by side."""
        import torch

        return torch.cat(
            [member.answers(logits[:, of_outputs]) for member, of_outputs, _, _ in self.parts()], dim=1
        )

    def labels_in(self, labels: "Tensor", views: Sequence[int]) -> "Tensor":
        """Labels `(B, L)` of images, each as it is in a view of its own: points move with it."""
        import torch

        if not any(views):
            return labels
        return torch.cat([self._moved(row[None], view) for row, view in zip(labels, views, strict=True)])

    def _moved(self, labels: "Tensor", view: int) -> "Tensor":
        import torch

        return torch.cat(
            [
                member.seen_in(labels[:, own], view) if isinstance(member, NumbersTarget) else labels[:, own]
                for member, _, own, _ in self.parts()
            ],
            dim=1,
        )

    def as_it_is(self, answers: "Tensor", view: int) -> "Tensor":
        """What answers `(B, A)` to a view of images say of the images themselves."""
        import torch

        if view == 0:
            return answers
        return torch.cat(
            [
                member.as_it_is(answers[:, own], view)
                if isinstance(member, NumbersTarget)
                else answers[:, own]
                for member, _, _, own in self.parts()
            ],
            dim=1,
        )

    def parts(self) -> Iterator[tuple[Member, slice, slice, slice]]:
        """Each member, and which outputs, labels and answers are its own."""
        output = label = answer = 0
        for member in self.members:
            ends = (
                output + member.num_outputs,
                label + member.num_labels,
                answer + len(member.answer_names),
            )
            yield member, slice(output, ends[0]), slice(label, ends[1]), slice(answer, ends[2])
            output, label, answer = ends


AnyTarget = BinaryTarget | MulticlassTarget | SeveralTargets
Target = Annotated[AnyTarget, Field(discriminator="kind")]


def labels_in(target: AnyTarget, labels: "Tensor", views: Sequence[int]) -> "Tensor":
    """See `SeveralTargets.labels_in`; the label of an image is that of each of its views."""
    return target.labels_in(labels, views) if isinstance(target, SeveralTargets) else labels


def as_it_is(target: AnyTarget, answers: "Tensor", view: int) -> "Tensor":
    """See `SeveralTargets.as_it_is`; probabilities are the same of each view."""
    return target.as_it_is(answers, view) if isinstance(target, SeveralTargets) else answers


def _losses(member: Member, outputs: "Tensor", labels: "Tensor", label_smoothing: float) -> "Tensor":
    if isinstance(member, NumbersTarget):
        return member.losses(outputs, labels, label_smoothing=label_smoothing)
    return member.losses(outputs, labels[:, 0].long(), label_smoothing=label_smoothing)
