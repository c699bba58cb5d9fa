"""The bench of the pipeline `compare`, made of its options by the two nodes that need it."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.normalize import NormalizeOptions

if TYPE_CHECKING:
    from regraft.comparing.bench import Bench


def make_bench(
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    arrays: Any,
    results: Any,
    normalize: NormalizeOptions,
    build_backbone: BuildBackboneOptions,
    compute: ComputeOptions,
) -> "Bench":
    """What all candidates have in common; of `build_backbone` the size of a batch, and with several targets `pooling`:
    key points are not told by a mean over all positions."""
    from regraft.comparing.bench import Bench

    return Bench(
        manifest=manifest,
        label_names=label_names,
        preprocessing_for=normalize.preprocessing,
        batch_size=build_backbone.batch_size,
        num_workers=compute.worker_count,
        compute=compute.resolve(),
        arrays=arrays,
        results=results,
        targets=targets,
        pooling=build_backbone.pooling if targets else "mean",
    )
