"""Whether a network fits into memory, said before it is built or run.

Knows no data and no training. What is needed is bounded from below: nothing that could work is refused.
"""

from __future__ import annotations

from typing import Any

import psutil
import torch
from torch import Tensor, nn

from regraft.backbones.architectures import build_on_meta
from regraft.backbones.spec import BackboneSpec

_ADVICE = "Close other programs, or choose a smaller backbone"


def free_bytes(device: torch.device) -> int:
    """Memory that could be had now, swap and PyTorch's own unused reserve included."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return int(psutil.virtual_memory().available + psutil.swap_memory().free)


def require_room_for_weights(model: nn.Module, name: str) -> None:
    """Refuse a network whose weights alone do not fit, in float32 on the CPU, where they are read.

    Args:
        model: The original network, on any device; the meta device will do.
        name: What the message calls it.

    Raises:
        ValueError: If there is less memory than that.
    """
    needed = sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])
    free = free_bytes(torch.device("cpu"))
    if needed > free:
        raise ValueError(
            f"{name} needs {_gigabytes(needed)} of memory for its weights, and {_gigabytes(free)} are free. {_ADVICE}"
        )


def require_room_for_pass(
    spec: BackboneSpec, *, cut: str, size: int, batch_size: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Refuse a forward pass whose largest layer does not fit.

    Args:
        cut: The last stage that is run.
        size: Side of the images, in pixels.
        batch_size: Images a pass.
        dtype: Of the activations.
        device: Where it is to run.

    Raises:
        ValueError: If there is less memory than that; says how many images a pass would fit. Also if the network
            cannot take images of this size.
    """
    spec.check_size(size, size)
    an_image = _largest_layer(spec, cut=cut, size=size) * dtype.itemsize
    free = free_bytes(device)
    if batch_size * an_image <= free:
        return
    fitting = free // an_image
    advice = f"Take at most {fitting} images a batch, or smaller ones" if fitting else "Take smaller images"
    raise ValueError(
        f"{spec.name} needs {_gigabytes(batch_size * an_image)} of memory on {device.type} for a pass of {batch_size} "
        f"images of {size}×{size} px, and {_gigabytes(free)} are free. {advice}, or choose a smaller backbone"
    )


def _largest_layer(spec: BackboneSpec, *, cut: str, size: int) -> int:
    """Numbers that the layer with the largest input and output together holds for one image, without arithmetic.

    Only layers with matrices count: norms and activations may be fused into them.
    """
    largest = 0

    def measure(_layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [tensor for tensor in (*inputs, output) if isinstance(tensor, Tensor)]
        largest = max(largest, sum(tensor.numel() for tensor in tensors))

    stages = spec.split(build_on_meta(spec))
    activation = torch.empty(1, 3, size, size, device="meta")
    with torch.inference_mode():
        for name in spec.stages_up_to(cut):
            for layer in stages[name].modules():
                if any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)):
                    layer.register_forward_hook(measure)
            activation = stages[name](activation)
    return largest


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
