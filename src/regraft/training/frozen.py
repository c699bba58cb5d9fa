"""The frozen part as it is run: fused, on the device, in the precision asked for, its rounding's shift taken back.

Knows no labels. Only what is never trained may be run so.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from regraft.backbones.backbone import Backbone
from regraft.backbones.calibration import calibrate
from regraft.backbones.fused import fuse
from regraft.backbones.fused_convolution import has_fused_convolution
from regraft.classifier.classifier import normalize_pixels
from regraft.images.blocks import ReadByRows
from regraft.images.preprocessing import Preprocessing
from regraft.training.reproducibility import Compute, one_thread

_CALIBRATION_IMAGES = 8  # 32 leave hardly less


class FrozenPasses(Protocol):
    """Forward passes through what is never trained; safe to be called from several threads."""

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Pooled features `(B, D)` of every stage up to the cut, float32, of `(B, 3, S, S)` normalised images."""
        ...

    def up_to(self, images: Tensor, stage: str, *, pooled: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The activation after a stage, of the same images, and pooled features of some stages up to it."""
        ...


@dataclass(frozen=True)
class TorchPasses:
    """PyTorch's, of a network as `frozen_network` makes it."""

    network: Backbone
    dtype: torch.dtype

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """See `FrozenPasses`."""
        return self.network.forward_features(images.to(self.dtype))

    def up_to(self, images: Tensor, stage: str, *, pooled: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `FrozenPasses`."""
        return self.network.pooled_range(images.to(self.dtype), None, stage, wanted=pooled)


def frozen_passes(
    backbone: Backbone,
    pixels: ReadByRows,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    compute: Compute,
) -> FrozenPasses:
    """Passes by the engine asked for.

    Args:
        backbone: In evaluation mode, float32, on the CPU; not changed.
        pixels: `(N, S, S, 3 or 1)` uint8, N > 0; a few of them say how rounding shifts means.
        preprocessing: Mean and std of the backbone's pretraining.
        batch_size: Images a pass, at most.
        compute: Engine, device, precision, streams.
    """

    def by_torch() -> TorchPasses:
        network = frozen_network(backbone, pixels, preprocessing, compute=compute)
        return TorchPasses(network, compute.fast_dtype)

    if compute.engine == "torch":
        return by_torch()
    from regraft.training.openvino_passes import OpenVinoPasses

    return OpenVinoPasses(
        backbone,
        _some_images(pixels, preprocessing, compute),
        batch_size=batch_size,
        dtype=compute.fast_dtype,
        num_streams=compute.num_streams,
        otherwise=by_torch,
    )


def frozen_network(
    backbone: Backbone, pixels: ReadByRows, preprocessing: Preprocessing, *, compute: Compute
) -> Backbone:
    """A copy of a backbone for frozen forward passes over images like these.

    Args:
        backbone: In evaluation mode, float32, on the CPU; not changed.
        pixels: `(N, S, S, 3 or 1)` uint8, N > 0; in bfloat16 a few of them say how it shifts means.
        preprocessing: Mean and std of the backbone's pretraining.
        compute: Device and precision.
    """
    exact = fuse(backbone, size=pixels.shape[1]).eval().to(compute.device)
    if compute.fast_dtype is torch.float32:
        return exact
    rounded = copy.deepcopy(exact).to(compute.fast_dtype)
    with one_thread():
        calibrate(rounded, exact, _some_images(pixels, preprocessing, compute), dtype=compute.fast_dtype)
    return rounded


def _some_images(pixels: ReadByRows, preprocessing: Preprocessing, compute: Compute) -> Tensor:
    rows = np.unique(np.linspace(0, len(pixels) - 1, _CALIBRATION_IMAGES).astype(np.int64))
    return normalize_pixels(torch.tensor(pixels[rows], device=compute.device), preprocessing)


def arithmetic_name(compute: Compute) -> str:
    """What the last bits of a frozen forward pass depend on beside its inputs: what is kept of one is only as good
    as this is the same."""
    if compute.engine == "openvino":
        return f"{compute.fast_dtype} openvino {version('openvino')} {torch.__version__}"
    is_fused = compute.device.type == "cpu" and has_fused_convolution()
    return (
        f"{compute.fast_dtype} calibrated {compute.device.type} {'fused' if is_fused else 'folded'} "
        f"{torch.__version__}"
    )
