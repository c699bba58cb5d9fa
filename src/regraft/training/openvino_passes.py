"""Frozen forward passes by OpenVINO: on Intel's processors about twice as fast, and optional.

Knows no labels. Needs the package `openvino`; the network is PyTorch's all the same, converted when it is first run.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone

if TYPE_CHECKING:
    from regraft.training.frozen import FrozenPasses

# Of the norm. Rounding to bfloat16 takes a hundredth of pooled features and a tenth of deep maps; another function is
# off by about all of it.
_TOLERANCE = 0.3

_logger = logging.getLogger(__name__)


class OpenVinoPasses:
    """The frozen passes of a backbone, see `frozen.FrozenPasses`.

    What bfloat16 shifts in the means of its outputs is taken back, as it is for PyTorch's passes within the network.
    What OpenVINO cannot run, or runs as another function, is run otherwise, which is logged.

    Args:
        backbone: In evaluation mode, float32, on the CPU.
        images: `(B, 3, S, S)` normalised float32: what is compared with PyTorch's float32.
        batch_size: Images a pass, at most.
        dtype: What large products are computed in.
        num_streams: Passes under way at once, a thread each; no result depends on it.
        otherwise: Passes by PyTorch; called once, if at all.
    """

    def __init__(
        self,
        backbone: Backbone,
        images: Tensor,
        *,
        batch_size: int,
        dtype: torch.dtype,
        num_streams: int,
        otherwise: Callable[[], "FrozenPasses"],
    ) -> None:
        self._backbone = backbone
        self._images = images
        self._batch_size = batch_size
        self._dtype = dtype
        self._hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if dtype is torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": num_streams,
            "NUM_STREAMS": num_streams,
            "ENABLE_CPU_PINNING": False,
        }
        self._make_otherwise = otherwise
        self._otherwise: FrozenPasses | None = None
        self._compiled: dict[tuple[str | None, ...], _Compiled | None] = {}
        self._lock = threading.Lock()

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """See `frozen.FrozenPasses.features`."""
        stages = list(self._backbone.stages)
        ready = self._ready(None, stages)
        if not isinstance(ready, _Compiled):
            return ready.features(images)
        return dict(zip(stages, ready(images), strict=True))

    def up_to(self, images: Tensor, stage: str, *, pooled: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """See `frozen.FrozenPasses.up_to`."""
        ready = self._ready(stage, pooled)
        if not isinstance(ready, _Compiled):
            return ready.up_to(images, stage, pooled=pooled)
        activation, *features = ready(images)
        return activation.to(self._dtype), dict(zip(pooled, features, strict=True))

    def _ready(self, stage: str | None, pooled: Sequence[str]) -> "_Compiled | FrozenPasses":
        """What gives these outputs, made by whoever asks first."""
        key = (stage, *pooled)
        with self._lock:
            if key not in self._compiled:
                outputs = _Outputs(self._backbone, stage, tuple(pooled))
                try:
                    self._compiled[key] = _Compiled(outputs, self._images, self._batch_size, self._hints)
                except _ConversionError as error:
                    _logger.warning("%s is run by PyTorch: %s", self._backbone.spec.name, error)
                    self._compiled[key] = None
            if (compiled := self._compiled[key]) is not None:
                return compiled
            if self._otherwise is None:
                self._otherwise = self._make_otherwise()
            return self._otherwise


class _ConversionError(Exception):
    """A network that OpenVINO cannot run, or runs as another function."""


class _Outputs(nn.Module):
    """The activation after a stage, and pooled features of some up to it; without a stage, these alone."""

    def __init__(self, backbone: Backbone, stage: str | None, pooled: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone, self.stage, self.pooled = backbone, stage, pooled

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """From `(B, 3, S, S)` normalised images."""
        activation, pooled = self.backbone.pooled_range(images, None, self.stage, wanted=self.pooled)
        features = tuple(pooled[stage] for stage in self.pooled)
        return features if self.stage is None else (activation, *features)


class _Compiled:
    """One converted module for batches of one size; smaller ones are filled up."""

    def __init__(self, module: _Outputs, images: Tensor, batch_size: int, hints: dict[str, Any]) -> None:
        openvino = _import_openvino()
        self._batch_size = batch_size
        self._requests = threading.local()
        batch = torch.zeros(batch_size, *images.shape[1:])
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")  # of tracing, about what a size of images fixes
                model = openvino.convert_model(module, example_input=batch, input=list(batch.shape))
            self._model = openvino.compile_model(model, "CPU", hints)
        except Exception as error:
            raise _ConversionError(
                f"OpenVINO cannot take it: {str(error).strip().splitlines()[0]}"
            ) from error
        with torch.inference_mode():
            exact = module(images)
        parts = [self._run(images[start : start + batch_size]) for start in range(0, len(images), batch_size)]
        self._shifts = []
        for wanted, *got in zip(exact, *parts, strict=True):
            given = torch.cat(got)
            change = (given - wanted).norm() / wanted.norm().clamp(min=1e-30)
            if not change <= _TOLERANCE:  # not: NaN is no match
                raise _ConversionError(f"OpenVINO gives other features: by {change:.2g} of their norm")
            self._shifts.append(_mean_of_channels(wanted - given))

    def __call__(self, images: Tensor) -> list[Tensor]:
        return [given + shift for given, shift in zip(self._run(images), self._shifts, strict=True)]

    def _run(self, images: Tensor) -> list[Tensor]:
        batch: NDArray[np.float32] = np.zeros((self._batch_size, *images.shape[1:]), np.float32)
        batch[: len(images)] = images.float().numpy()
        if not hasattr(self._requests, "own"):
            self._requests.own = self._model.create_infer_request()
        given = self._requests.own.infer([batch], share_inputs=True)
        return [torch.from_numpy(np.array(output[: len(images)])) for output in given.values()]


def _import_openvino() -> Any:
    """The package; what it reports about its use wherever it is imported stays out."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _mean_of_channels(values: Tensor) -> Tensor:
    """Over images and positions, kept so that it can be added: of maps, of tokens, of vectors."""
    return values.mean(dim={2: (0,), 3: (0, 1), 4: (0, 2, 3)}[values.ndim], keepdim=True)
