"""Numbers that a head predicts: one, an age for instance, or the coordinates of key points.

Knows nothing of backbones, files or how a head is trained.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_MIRRORED, _UPSIDE_DOWN, _TRANSPOSED = 1, 2, 4  # bits of a view's number


class NumbersTarget(BaseModel):
    """D numbers, as many outputs, each on the scale of what was learnt from.

    Attributes:
        kind: A `number` (D is 1), or `points`: x and y in turn, as fractions of the image's width and height.
        column: What it is called.
        mean: D means of the training images.
        scale: D deviations of them, in the numbers' own unit.
        noise: D deviations of what the fitted head leaves unexplained in images held out, in units of `scale`: they
            make errors of different kinds comparable.
        partners: Of points, the number of the one that stands for each in a mirror image; None where that is not known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["number", "points"]
    column: str
    mean: tuple[float, ...] = Field(min_length=1)
    scale: tuple[float, ...]
    noise: tuple[float, ...]
    partners: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        lengths = {len(self.mean), len(self.scale), len(self.noise)}
        if len(lengths) > 1 or (self.kind == "number" and len(self.mean) != 1) or min(self.scale) <= 0:
            raise ValueError(f"{self.kind} {self.column!r}: mean, scale and noise do not fit each other")
        if min(self.noise) <= 0:
            raise ValueError(
                f"{self.kind} {self.column!r}: a noise of 0 would make any error cost infinitely much"
            )
        if self.partners is not None and sorted(self.partners) != list(range(len(self.mean) // 2)):
            raise ValueError(f"{self.kind} {self.column!r}: partners are no permutation of the points")
        return self

    @property
    def num_outputs(self) -> int:
        """Outputs a head must give."""
        return len(self.mean)

    @property
    def num_labels(self) -> int:
        """Columns of what is learnt."""
        return len(self.mean)

    @property
    def answer_names(self) -> tuple[str, ...]:
        """Names of the columns of `answers`."""
        if self.kind == "number":
            return (self.column,)
        return tuple(f"{self.column}.{axis}{point}" for point in range(len(self.mean) // 2) for axis in "xy")

    def losses(self, outputs: "Tensor", labels: "Tensor", *, label_smoothing: float) -> "Tensor":
        """What each image costs: half the squared error in units of the noise, the mean over the D numbers.

        Args:
            outputs: `(B, D)` float.
            labels: `(B, D)` float, as `learnt` gives them.
            label_smoothing: Nothing to smooth here.

        Returns:
            `(B,)`, in nats but for a constant.

        Source:
            Losses of several targets weighted by their noise: Kendall et al. 2018, arXiv:1705.07115; there the noise
            is learnt, here it is measured by cross-validation.
        """
        noise, labels = outputs.new_tensor(self.noise), labels.to(outputs.dtype)
        if self.kind == "points":
            labels = (labels - outputs.new_tensor(self.mean)) / outputs.new_tensor(self.scale)
        return ((outputs - labels) / noise).square().mean(dim=1) / 2

    def learnt(self, values: "NDArray[np.float64]") -> "NDArray[np.float64]":
        """Numbers `(N, D)` in their own unit as `losses` takes them: a number in deviations from the mean, since what
        has a large offset would lose its last digits in half of float64; points as they are, for a view moves them."""
        if self.kind == "points":
            return values
        standardised: NDArray[np.float64] = (values - self.mean[0]) / self.scale[0]
        return standardised

    def answers(self, outputs: "Tensor") -> "Tensor":
        """`(B, D)` outputs to `(B, D)` float64 numbers in their own unit."""
        import torch

        mean, scale = (
            torch.tensor(values, dtype=torch.float64, device=outputs.device)
            for values in (self.mean, self.scale)
        )
        return outputs.double() * scale + mean

    def seen_in(self, values: "Tensor", view: int) -> "Tensor":
        """What the numbers `(B, D)` of images are in a view of them: points move, see `points_in`."""
        return values if self.kind == "number" else points_in(values, view, self.partners)

    def as_it_is(self, values: "Tensor", view: int) -> "Tensor":
        """What is said of a view as said of the image: undoes `seen_in`."""
        return values if self.kind == "number" else points_as_they_are(values, view, self.partners)


def points_in(values: "Tensor", view: int, partners: Sequence[int] | None) -> "Tensor":
    """Points of images as they lie in a view of them.

    Args:
        values: `(B, 2P)`, x and y in turn, as fractions of width and height.
        view: Its number, see `apply_view`; 0 is the image itself.
        partners: P numbers: which point stands for each in a mirror image.

    Raises:
        ValueError: If partners are needed and not known.
    """
    if view == 0:
        return values
    x, y = values[:, ::2], values[:, 1::2]
    if view & _TRANSPOSED:
        x, y = y, x
    return _joined(1 - x if view & _MIRRORED else x, 1 - y if view & _UPSIDE_DOWN else y, view, partners)


def points_as_they_are(values: "Tensor", view: int, partners: Sequence[int] | None) -> "Tensor":
    """Undoes `points_in`."""
    if view == 0:
        return values
    x, y = values[:, ::2], values[:, 1::2]
    x, y = 1 - x if view & _MIRRORED else x, 1 - y if view & _UPSIDE_DOWN else y
    return _joined(y, x, view, partners) if view & _TRANSPOSED else _joined(x, y, view, partners)


def _joined(x: "Tensor", y: "Tensor", view: int, partners: Sequence[int] | None) -> "Tensor":
    import torch

    if partners is None:
        raise ValueError(
            "a view that moves points was asked for, and which of them a mirror exchanges is not known"
        )
    if view.bit_count() % 2:  # an odd number of reflections; the partner of a partner is the point itself
        x, y = x[:, list(partners)], y[:, list(partners)]
    return torch.stack([x, y], dim=2).flatten(1)
