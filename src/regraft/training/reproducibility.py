"""Where computation runs and what makes it repeatable: device, precision, threads, generators.

The only module that touches torch's global state; knows nothing of models or data.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np
import torch

from regraft.messages import report_tags

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
PrecisionName = Literal["auto", "float32", "bfloat16"]
EngineName = Literal["torch", "openvino"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Compute:
    """Where and how to compute.

    Attributes:
        device: Holds the weights.
        fast_dtype: What the frozen part computes in where only training features come of it, and what large products
            of the trained part do while it learns; its weights are float32.
        num_streams: Batches of the frozen part under way at once on the CPU, one thread each; no result
            depends on it.
        deterministic: On CUDA, only operations whose result never varies.
        engine: What runs the frozen part.
    """

    device: torch.device
    fast_dtype: torch.dtype
    num_streams: int
    deterministic: bool
    engine: EngineName = "torch"

    def images_a_pass(self, wanted: int | Literal["auto"], *, size: int) -> int:
        """How many images a forward pass takes where nothing is learnt.

        `auto` goes by nothing but the device and the size: as many pixels as stay in a core's cache, or fill a GPU. So
        it is the same on any machine of the kind, and with it how sums are rounded.

        Args:
            wanted: As the configuration says it.
            size: Height and width of an image, in pixels.
        """
        if wanted != "auto":
            return wanted
        at_224, most = (8, 64) if self.device.type == "cpu" else (128, 1024)
        return max(1, min(most, int(at_224 * (224 / size) ** 2)))


def choose_device(name: DeviceName) -> torch.device:
    """The device asked for; `auto` takes cuda, then mps, then the CPU.

    Raises:
        ValueError: If the device asked for is not there.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, is_there in present.items() if is_there))
    if not present[name]:
        there = ", ".join(kind for kind, is_there in present.items() if is_there)
        raise ValueError(
            f"compute.device is {name!r}, which this machine does not have; it has: {there} (or set: auto)"
        )
    return torch.device(name)


def choose_fast_dtype(name: PrecisionName, device: torch.device) -> torch.dtype:
    """The precision asked for; `auto` takes bfloat16 where the hardware multiplies it, else float32.

    On a CPU that is in tiles (AMX) or in vectors (AVX512-BF16). It goes by what the processor says of itself, not by
    trying which is faster: so a busy moment changes no result.
    """
    if name != "auto":
        return torch.bfloat16 if name == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        has_bfloat16 = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return torch.float32


def generator_for(seed: int, *keys: int | str) -> torch.Generator:
    """A generator that depends on nothing but the seed and the keys (a purpose, an epoch), so any state of a
    run can be made again without replaying what came before."""
    return torch.Generator().manual_seed(seed_for(seed, *keys))


def seed_for(seed: int, *keys: int | str) -> int:
    """A 63-bit seed from a seed and keys."""
    digest = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def reproducible(compute: Compute) -> Iterator[None]:
    """One thread an operation, deterministic operations, and global generators put back as they were.

    More threads inside one operation would round its sums otherwise; speed comes from streams instead.

    Raises:
        RuntimeError: Inside, where an operation has no deterministic form and `compute.deterministic` is set.
    """
    if compute.deterministic:
        # cuBLAS reads it when CUDA starts; without it matrix products refuse to run deterministically.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    report_tags({"device": str(compute.device)})
    threads = torch.get_num_threads()
    debug_mode = torch.get_deterministic_debug_mode()
    benchmark = torch.backends.cudnn.benchmark
    torch.set_num_threads(1)
    # Sets what use_deterministic_algorithms sets, without its seconds of imports.
    torch.set_deterministic_debug_mode("error" if compute.deterministic else "default")
    torch.backends.cudnn.benchmark = not compute.deterministic
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode(debug_mode)
        torch.backends.cudnn.benchmark = benchmark


def map_streams(
    function: Callable[[_Item], _Result], items: Sequence[_Item], *, compute: Compute
) -> Iterator[_Result]:
    """Apply a function to every item, `compute.num_streams` at once on the CPU, results in order.

    Each call computes with one thread, so results are the same for any number of streams. Several streams of one
    thread are several times faster than one stream of several threads where other processes keep a core busy.
    """
    if compute.device.type != "cpu" or compute.num_streams == 1:
        with one_thread():
            yield from map(function, items)
        return
    with one_thread():
        yield from _pool(compute.num_streams).map(function, items)


def numpy_generator(seed: int, *keys: int | str) -> np.random.Generator:
    """As `generator_for`, for numpy."""
    return np.random.default_rng(seed_for(seed, *keys))


@cache
def _pool(num_streams: int) -> ThreadPoolExecutor:
    # Kept: training asks for it at every update.
    return ThreadPoolExecutor(num_streams, initializer=torch.set_num_threads, initargs=(1,))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread an operation while it lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
