"""The freeze border: what the frozen stages hand to the trained ones, computed once a view and kept.

Knows no labels and nothing of training; where the arrays are kept is the given store's business.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.classifier.classifier import normalize_pixels
from regraft.classifier.views import ViewSet, apply_view, num_views
from regraft.images.blocks import ArrayBlocks, ReadByRows
from regraft.images.preprocessing import Preprocessing
from regraft.training.frozen import FrozenPasses, arithmetic_name, frozen_passes
from regraft.training.reproducibility import Compute, map_streams, numpy_generator

_BLOCK_BATCHES = 16
_DIGESTED_ROWS = 64


class ArrayStore(Protocol):
    """Keeps computed arrays by key."""

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> NDArray[np.generic]:
        """The array of that key: kept from before, or computed now and kept."""
        ...


class BorderInputs(Protocol):
    """Images as the first trained stage sees them."""

    @property
    def num_views(self) -> int:
        """In how many views each image is shown; the first is the image as it is."""
        ...

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Row `rows[i]` in its `views[i]`-th view for each i: `(B, C, H, W)` float32 on the computing device."""
        ...

    def shown(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which view, as `apply_view` numbers them, the `views[i]`-th of row `rows[i]` is: `(B,)`."""
        ...

    def pooled(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> dict[str, Tensor]:
        """Of the same images, `(B, D)` float32 pooled features of earlier stages that the head takes as well."""
        ...


@dataclass(frozen=True)
class PixelInputs:
    """Border inputs where nothing is frozen: the normalised images themselves, in every view, for none is kept."""

    pixels: ReadByRows
    preprocessing: Preprocessing
    device: torch.device
    num_views: int = 1

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """See `BorderInputs.batch`."""
        images = normalize_pixels(torch.as_tensor(self.pixels[rows], device=self.device), self.preprocessing)
        # As the classifier predicts: the same bits.
        return _in_views(images, views).contiguous(memory_format=torch.channels_last)

    def shown(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `BorderInputs.shown`: all are there in their order."""
        return views

    def pooled(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> dict[str, Tensor]:
        """No stage lies before the images."""
        return {}


@dataclass(frozen=True)
class CachedInputs:
    """Border inputs read from kept arrays; bfloat16 is kept as its 16 bits.

    Attributes:
        arrays: One a view, `(N, C, H, W)`; or, with earlier stages, `(N, C·H·W + D)`, their pooled features behind.
        device: Where batches are put.
        shape: Of one image's activation at the border, `(C, H, W)`.
        earlier: Widths of the pooled features of stages before the border, in depth order.
        drawn: `(N, V)`, the number of the view that each of the arrays holds of each image.
    """

    arrays: tuple[NDArray[np.generic], ...]
    device: torch.device
    shape: tuple[int, ...]
    earlier: Mapping[str, int]
    drawn: NDArray[np.int64]

    @property
    def num_views(self) -> int:
        """See `BorderInputs`."""
        return len(self.arrays)

    def batch(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """See `BorderInputs.batch`."""
        part = slice(0, math.prod(self.shape)) if self.earlier else slice(None)
        activation = self._gathered(rows, views, part).reshape(len(rows), *self.shape)
        if activation.ndim == 4:
            return activation.contiguous(memory_format=torch.channels_last)
        return activation

    def shown(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.int64]:
        """See `BorderInputs.shown`."""
        return self.drawn[rows, views]

    def pooled(self, rows: NDArray[np.int64], views: NDArray[np.int64]) -> dict[str, Tensor]:
        """See `BorderInputs.pooled`."""
        if not self.earlier:
            return {}
        features = self._gathered(rows, views, slice(math.prod(self.shape), None))
        return dict(zip(self.earlier, torch.split(features, list(self.earlier.values()), dim=1), strict=True))

    def _gathered(self, rows: NDArray[np.int64], views: NDArray[np.int64], part: slice) -> Tensor:
        kept = [self.arrays[view][row][part] for row, view in zip(rows, views, strict=True)]
        tensor = torch.from_numpy(np.stack(kept))
        if tensor.dtype is torch.int16:
            tensor = tensor.view(torch.bfloat16)
        return tensor.to(self.device, torch.float32)


def border_inputs(
    backbone: Backbone,
    border: str | None,
    pixels: ReadByRows,
    preprocessing: Preprocessing,
    *,
    views: ViewSet,
    views_per_image: int | None = None,
    seed: int = 0,
    batch_size: int,
    compute: Compute,
    store: ArrayStore,
    stages: Sequence[str] = (),
) -> BorderInputs:
    """Run the frozen stages over the images in their views once, or take what was kept of an earlier time.

    Args:
        backbone: Its stages up to and with `border` are frozen.
        border: The last frozen stage; None where all stages are trained.
        pixels: `(N, S, S, 3 or 1)` uint8.
        preprocessing: Mean and std of the backbone's pretraining.
        views: The views that training draws from.
        views_per_image: In how many of them an image is kept, drawn for each; None: in all. Where nothing is frozen,
            and so nothing kept, it is all.
        seed: Draws them.
        batch_size: Images a forward pass.
        compute: Device, precision, streams.
        store: Keeps the arrays; a key depends on pixels, weights, preprocessing, view, stages and arithmetic.
        stages: Whose pooled features the head takes; of those before the border they are kept in the same pass.
    """
    if border is None:
        return PixelInputs(pixels, preprocessing, compute.device, num_views(views))
    frozen = frozen_passes(backbone, pixels, preprocessing, batch_size=batch_size, compute=compute)
    names = list(backbone.stages)
    before = [stage for stage in stages if names.index(stage) < names.index(border)]
    identity = _identity(
        backbone, border, pixels, preprocessing, earlier=before, batch_size=batch_size, compute=compute
    )
    shape: tuple[int, ...] = ()
    arrays = []
    drawn = draw_views(len(pixels), views, views_per_image, seed=seed)
    for in_view in drawn.T:
        shape, blocks = _activations(
            frozen,
            border,
            pixels,
            preprocessing,
            earlier=before,
            in_view=in_view,
            batch_size=batch_size,
            compute=compute,
        )
        arrays.append(store.get_or_compute(f"{identity}-{_name_of(in_view)}", blocks))
    widths = {stage: backbone.feature_dims[stage] for stage in before}
    return CachedInputs(tuple(arrays), compute.device, shape, widths, drawn)


def draw_views(num_images: int, views: ViewSet, per_image: int | None, *, seed: int) -> NDArray[np.int64]:
    """Numbers of the views `(N, V)` that each image is shown in: itself first, the others drawn, none twice."""
    num_others = num_views(views) - 1
    others = np.tile(np.arange(1, num_others + 1), (num_images, 1))
    if per_image is not None and per_image - 1 < num_others:
        others = numpy_generator(seed, "views").permuted(others, axis=1)[:, : per_image - 1]
    return np.concatenate([np.zeros((num_images, 1), np.int64), others], axis=1)


def _name_of(in_view: NDArray[np.int64]) -> str:
    """Of one view of all images its number, so that it is kept once, whoever wants it."""
    if (in_view == in_view[0]).all():
        return f"view{in_view[0]}"
    return f"views{hashlib.sha256(in_view.tobytes()).hexdigest()[:16]}"


def _in_views(images: Tensor, views: NDArray[np.int64]) -> Tensor:
    """Each image `(B, C, H, W)` in a view of its own."""
    if (views == views[0]).all():
        return apply_view(images, int(views[0]))
    return torch.stack(
        [apply_view(image[None], int(view))[0] for image, view in zip(images, views, strict=True)]
    )


def _activations(
    passes: FrozenPasses,
    border: str,
    pixels: ReadByRows,
    preprocessing: Preprocessing,
    *,
    earlier: Sequence[str],
    in_view: NDArray[np.int64],
    batch_size: int,
    compute: Compute,
) -> tuple[tuple[int, ...], ArrayBlocks]:
    """The shape of one image's activation, and what is kept of all images."""

    def run(start: int, stop: int) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.inference_mode():
            images = normalize_pixels(torch.tensor(pixels[start:stop], device=compute.device), preprocessing)
            return passes.up_to(_in_views(images, in_view[start:stop]), border, pooled=earlier)

    def activations_of(start: int, stop: int) -> NDArray[np.generic]:
        with torch.inference_mode():
            activations, pooled = run(start, stop)
            if pooled:
                parts = [features.to(activations.dtype) for features in pooled.values()]
                activations = torch.cat([activations.flatten(1), *parts], dim=1)
            activations = activations.contiguous().cpu()
            if activations.dtype is torch.bfloat16:
                activations = activations.view(torch.int16)
            return activations.numpy()

    def compute_block(start: int, stop: int) -> NDArray[np.generic]:
        starts = range(start, stop, batch_size)
        batches = map_streams(
            lambda first: activations_of(first, min(first + batch_size, stop)), starts, compute=compute
        )
        return np.concatenate(list(batches))

    probe = activations_of(0, 1)
    blocks = ArrayBlocks(
        shape=(len(pixels), *probe.shape[1:]),
        dtype=probe.dtype.name,
        block_rows=batch_size * _BLOCK_BATCHES,
        compute=compute_block,
    )
    return (tuple(run(0, 1)[0].shape[1:]) if earlier else probe.shape[1:]), blocks


def _identity(
    backbone: Backbone,
    border: str,
    pixels: ReadByRows,
    preprocessing: Preprocessing,
    *,
    earlier: Sequence[str],
    batch_size: int,
    compute: Compute,
) -> str:
    digest = hashlib.sha256()
    stages = backbone.spec.stages
    for stage in stages[: stages.index(border) + 1]:
        digest.update(tensor_digest(backbone.stages[stage]).encode())
    for start in range(0, len(pixels), _DIGESTED_ROWS):
        digest.update(np.ascontiguousarray(pixels[start : start + _DIGESTED_ROWS]).data)
    digest.update(preprocessing.model_dump_json().encode())
    # The size of a batch and the version of torch change the last bits: what is kept must be what would be computed.
    digest.update(f"{pixels.shape} {arithmetic_name(compute)} {batch_size}".encode())
    if earlier:
        digest.update(" ".join(earlier).encode())
    return digest.hexdigest()[:32]
