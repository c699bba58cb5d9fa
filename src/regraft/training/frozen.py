"""The frozen part as it is run: fused, on the device, in the precision asked for, its rounding's shift taken back.

Knows no labels. Only what is never trained may be run so.
"""

import copy

import numpy as np
import torch

from regraft.backbones.backbone import Backbone
from regraft.backbones.calibration import calibrate
from regraft.backbones.fused import fuse
from regraft.backbones.fused_convolution import has_fused_convolution
from regraft.classifier.classifier import normalize_pixels
from regraft.images.blocks import ReadByRows
from regraft.images.preprocessing import Preprocessing
from regraft.training.reproducibility import Compute, one_thread

_CALIBRATION_IMAGES = 8  # 32 leave hardly less


def frozen_network(
    backbone: Backbone, pixels: ReadByRows, preprocessing: Preprocessing, *, compute: Compute
) -> Backbone:
    """A copy of a backbone for frozen forward passes over images like these.

    Args:
        backbone: In evaluation mode, float32, on the CPU; not changed.
        pixels: `(N, S, S, 3)` uint8, N > 0; where the precision is not float32, a few of them say how it shifts means.
        preprocessing: Mean and std of the backbone's pretraining.
        compute: Device and precision.
    """
    exact = fuse(backbone, size=pixels.shape[1]).eval().to(compute.device)
    if compute.fast_dtype is torch.float32:
        return exact
    rounded = copy.deepcopy(exact).to(compute.fast_dtype)
    rows = np.unique(np.linspace(0, len(pixels) - 1, _CALIBRATION_IMAGES).astype(np.int64))
    with one_thread():
        images = normalize_pixels(torch.tensor(pixels[rows], device=compute.device), preprocessing)
        calibrate(rounded, exact, images, dtype=compute.fast_dtype)
    return rounded


def arithmetic_name(compute: Compute) -> str:
    """What the last bits of a frozen forward pass depend on beside its inputs: what is kept of one is only as good
    as this is the same."""
    is_fused = compute.device.type == "cpu" and has_fused_convolution()
    return (
        f"{compute.fast_dtype} calibrated {compute.device.type} {'fused' if is_fused else 'folded'} "
        f"{torch.__version__}"
    )
