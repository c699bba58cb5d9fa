"""What of this machine and this environment may change the last bits of a result.

Knows torch and the operating system; no pipeline, no configuration but `compute`.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from regraft.adapters.fingerprints import COMPUTING_LIBRARIES
from regraft.cores import count_cores
from regraft.options.compute import ComputeOptions

# Each makes libraries take another way to the same sum.
_VARIABLES = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "PYTORCH_ENABLE_MPS_FALLBACK",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)


def describe_machine(options: ComputeOptions) -> dict[str, Any]:
    """Hardware, operating system and Python, and the device and precision that `compute` means here."""
    import torch

    compute = options.resolve()
    capabilities = torch.cpu.get_capabilities()
    machine: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cpu_flags": sorted(name for name, is_there in capabilities.items() if is_there is True),
        "num_cores": count_cores(),
        "operating_system": platform.system(),
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "device": compute.device.type,
        "precision": str(compute.fast_dtype).removeprefix("torch."),
        "gpu": None,
    }
    if compute.device.type == "cuda":
        machine |= {
            "gpu": torch.cuda.get_device_name(),
            "gpu_capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "cuda": torch.version.cuda,
        }
    return machine | {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def installed_versions() -> dict[str, str]:
    """Version of every installed package by its name, those first that compute."""
    found = {
        name.lower().replace("_", "-"): one.version
        for one in reversed(list(distributions()))  # of two on the path the first is imported
        if (name := one.metadata["Name"])
    }
    found.pop("regraft", None)  # its code is hashed
    return {name: found[name] for name in [*COMPUTING_LIBRARIES, *sorted(found)] if name in found}


def _cpu_name() -> str:
    """The model; empty where the system does not say."""
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
