"""The bench that every candidate is put on: its own pixels and features, computed once, kept by content, timed.

Knows neither heads nor scores; where arrays and results are kept is the given stores' business.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.backbones.backbone import Backbone, build_backbone, freeze, tensor_digest
from regraft.backbones.pooling import Pooling
from regraft.backbones.spec import InputContract
from regraft.backbones.weights import input_contract, load_weights
from regraft.backbones.zoo import get_spec
from regraft.comparing.candidates import Candidate
from regraft.comparing.task import Task, task_for
from regraft.comparing.tried import ResultStore
from regraft.images.blocks import ArrayBlocks
from regraft.images.pixels import normalize_images
from regraft.images.preprocessing import Preprocessing
from regraft.training.border import ArrayStore
from regraft.training.features import extract_features
from regraft.training.frozen import arithmetic_name
from regraft.training.reproducibility import Compute

_BLOCK_ROWS = 256


@dataclass(frozen=True)
class Bench:
    """What all candidates have in common.

    Attributes:
        manifest: The images with their splits, labels and groups.
        label_names: The one target: its column and its labels in the order of their numbers. Of several targets what
            images are split by.
        preprocessing_for: From the contract of a candidate's weights to how images are fitted for it.
        batch_size: Images a forward pass; `auto` goes by the size that each candidate takes them in.
        num_workers: Threads that decode.
        compute: Device, precision, streams.
        arrays: Keeps pixels and features.
        results: Keeps what was found.
        targets: What is learnt where it is more than one label, as `describe_targets` describes it.
        pooling: What is kept of each stage's activation.
    """

    manifest: pd.DataFrame
    label_names: dict[str, list[str]]
    preprocessing_for: Callable[[InputContract], Preprocessing]
    batch_size: int | Literal["auto"]
    num_workers: int
    compute: Compute
    arrays: ArrayStore
    results: ResultStore
    targets: Sequence[Mapping[str, Any]] = ()
    pooling: Pooling = "mean"

    @property
    def task(self) -> Task:
        """What is learnt."""
        return task_for(self.label_names, self.targets)

    def rows(self, *splits: str) -> NDArray[np.int64]:
        """Rows of the manifest that are of some splits, in its order."""
        return np.flatnonzero(self.manifest["split"].isin(splits))


@dataclass(frozen=True)
class Cost:
    """Time of this process and of the clock on the wall, in seconds."""

    seconds: float
    cpu_seconds: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds)


class Stopwatch:
    """Measures what happens within `with`; `cost` is its sum over all times."""

    def __init__(self) -> None:
        self.cost = Cost(0.0, 0.0)

    def __enter__(self) -> "Stopwatch":
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self._start
        self.cost += Cost(time.perf_counter() - wall, time.process_time() - cpu)


class OnBench:
    """A candidate on the bench: its network, and what it makes of the images.

    Attributes:
        candidate: Which.
        backbone: With weights, frozen.
        preprocessing: Of its own pretraining.
        batch_size: Images a forward pass.
        pixels_key: Names its pixels by all that they follow from.
        features_key: Names its features by all that they follow from.
    """

    def __init__(self, candidate: Candidate, bench: Bench) -> None:
        spec = get_spec(candidate.name)
        weights, receipt = load_weights(spec, candidate.weights)
        self.candidate = candidate
        self.backbone: Backbone = build_backbone(
            candidate.name,
            weights=weights,
            cut=candidate.cut,
            receipt=receipt,
            pooling=bench.pooling,
        )
        freeze(self.backbone)
        self.preprocessing = bench.preprocessing_for(input_contract(spec, candidate.weights))
        self._bench = bench
        images = _digest(*bench.manifest["sha256"])
        self.batch_size = bench.compute.images_a_pass(bench.batch_size, size=self.preprocessing.size)
        self.pixels_key = f"pixels-{_digest(images, self.preprocessing.spatial)}"
        arithmetic = f"{arithmetic_name(bench.compute)} {self.batch_size}"
        parts = [images, tensor_digest(self.backbone), self.preprocessing.model_dump_json(), arithmetic]
        if bench.pooling != "mean":
            parts.append(bench.pooling)
        self.features_key = f"features-{_digest(*parts)}"

    def pixels(self) -> NDArray[np.uint8]:
        """`(N, S, S, 3 or 1)` uint8, memory-mapped, rows as in the manifest."""
        blocks = normalize_images(
            self._bench.manifest,
            self.preprocessing,
            num_workers=self._bench.num_workers,
            block_rows=_BLOCK_ROWS,
        )
        return self._kept(self.pixels_key, blocks).astype(np.uint8, copy=False)

    def features(self) -> NDArray[np.float32]:
        """`(N, D)` float32, memory-mapped, stages side by side; pixels are decoded only if it is not kept yet."""
        bench, widths = self._bench, self.backbone.feature_dims

        @cache
        def blocks() -> ArrayBlocks:
            return extract_features(
                self.backbone,
                self.pixels(),
                self.preprocessing,
                batch_size=self.batch_size,
                compute=bench.compute,
            )

        lazily = ArrayBlocks(
            shape=(len(bench.manifest), sum(widths.values())),
            dtype="float32",
            block_rows=self.batch_size * 16,
            compute=lambda start, stop: blocks().compute(start, stop),
        )
        return self._kept(self.features_key, lazily).astype(np.float32, copy=False)

    def preparation_cost(self) -> Cost:
        """What decoding its pixels and one pass over all images cost, this time or an earlier one."""
        return self.pixels_cost() + self.passes_cost()

    def passes_cost(self) -> Cost:
        """Of that, the pass."""
        return self._cost_of(self.features_key)

    def pixels_cost(self) -> Cost:
        """Of that, the decoding: candidates that take the same pixels, by `pixels_key`, share it."""
        return self._cost_of(self.pixels_key)

    def _kept(self, key: str, blocks: ArrayBlocks) -> NDArray[np.generic]:
        """The array of a key; where it had to be computed, its cost is written down."""
        watch, num_rows = Stopwatch(), 0

        def compute(start: int, stop: int) -> np.ndarray:
            nonlocal num_rows
            if num_rows == 0:
                blocks.compute(
                    start, min(start + 1, stop)
                )  # what is computed first of all has a cost of its own
            with watch:
                block = blocks.compute(start, stop)
            num_rows += stop - start
            return block

        timed = ArrayBlocks(blocks.shape, blocks.dtype, blocks.block_rows, compute)
        array = self._bench.arrays.get_or_compute(key, timed)
        if num_rows == 0 and self._bench.results.read(f"cost-{key}") is None:
            compute(0, min(blocks.block_rows, blocks.shape[0]))  # kept from a time whose cost nobody knows
        if num_rows:
            # Of some of the rows only, where a process went on in the middle.
            share = num_rows / max(1, blocks.shape[0])
            cost = {"seconds": watch.cost.seconds / share, "cpu_seconds": watch.cost.cpu_seconds / share}
            self._bench.results.write(f"cost-{key}", json.dumps(cost).encode())
        return array

    def _cost_of(self, key: str) -> Cost:
        data = self._bench.results.read(f"cost-{key}")
        return Cost(**json.loads(data)) if data else Cost(0.0, 0.0)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
