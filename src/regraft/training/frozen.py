"""The frozen part as it is run: fused, on the device, in the precision asked for.

Knows no data. Only what is never trained may be run so.
"""

import torch

from regraft.backbones.backbone import Backbone
from regraft.backbones.fused import fuse
from regraft.backbones.fused_convolution import has_fused_convolution
from regraft.training.reproducibility import Compute


def frozen_network(backbone: Backbone, *, size: int, compute: Compute) -> Backbone:
    """A copy of a backbone for frozen forward passes on images of `size` pixels a side."""
    return fuse(backbone, size=size).eval().to(compute.device, compute.fast_dtype)


def arithmetic_name(compute: Compute) -> str:
    """What the last bits of a frozen forward pass depend on beside its inputs: what is kept of one is only as good
    as this is the same."""
    is_fused = compute.device.type == "cpu" and has_fused_convolution()
    return (
        f"{compute.fast_dtype} {compute.device.type} {'fused' if is_fused else 'folded'} {torch.__version__}"
    )
