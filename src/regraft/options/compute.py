"""Where and how to compute; shared by all steps that run a network.

Knows the words a user may say, not what the machine has: that is found out when a step starts.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from regraft.cores import count_cores
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.training.reproducibility import Compute


class ComputeOptions(Options):
    """Device, precision and threads.

    Attributes:
        device: `auto` takes cuda, then mps, then the CPU.
        precision: Of the frozen part, and of large products while fine-tuning; `auto` takes bfloat16 where the
            hardware multiplies it fast. What is measured and served is always float32.
        num_workers: Threads that decode images, and batches under way at once on the CPU; null takes the
            machine's cores. No result depends on it.
        deterministic: On CUDA, use only operations whose result never varies.
        engine: What runs the frozen part; `openvino` wants its package, and a CPU.
    """

    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    num_workers: int | None = Field(ge=1, le=1024)
    deterministic: bool
    engine: Literal["torch", "openvino"] = "torch"

    @model_validator(mode="after")
    def _check_engine_is_there(self) -> Self:
        if self.engine == "openvino" and find_spec("openvino") is None:
            raise ValueError("engine is openvino, which is not installed: pip install 'regraft[openvino]'")
        return self

    @property
    def worker_count(self) -> int:
        """`num_workers`, or the cores this process may use."""
        return self.num_workers or count_cores()

    def resolve(self) -> "Compute":
        """What these words mean on this machine.

        Raises:
            ValueError: If the device asked for is not there, or the engine cannot use it.
        """
        from regraft.training.reproducibility import Compute, choose_device, choose_fast_dtype

        device = choose_device(self.device)
        if self.engine == "openvino" and device.type != "cpu":
            raise ValueError(
                f"compute.engine is openvino, which runs on a CPU, and the device is {device.type}: set "
                "compute.device: cpu, or compute.engine: torch"
            )
        return Compute(
            device=device,
            fast_dtype=choose_fast_dtype(self.precision, device),
            num_streams=self.worker_count,
            deterministic=self.deterministic,
            engine=self.engine,
        )
