"""Nodes of the step `normalize`: from a manifest to pixels as the backbone's pretraining saw them.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions

_BLOCK_ROWS = 256


def choose_preprocessing(options: NormalizeOptions, backbone: BuildBackboneOptions) -> dict[str, Any]:
    """The input contract of the weights that will be used, as JSON."""
    from regraft.backbones.weights import input_contract

    return options.preprocessing(input_contract(backbone.spec, backbone.weights)).model_dump(mode="json")


def normalize_images(manifest: pd.DataFrame, preprocessing: dict[str, Any], compute: ComputeOptions) -> Any:
    """Every image of the manifest decoded and fitted once, computed while it is saved."""
    from regraft.images.pixels import normalize_images
    from regraft.images.preprocessing import Preprocessing

    return normalize_images(
        manifest,
        Preprocessing.model_validate(preprocessing),
        num_workers=compute.worker_count,
        block_rows=_BLOCK_ROWS,
    )


def describe_data(
    manifest: pd.DataFrame, label_names: dict[str, list[str]], pixels: Any, ingest: IngestOptions
) -> tuple[dict[str, Any], Any]:
    """The data card, and training images of each class."""
    from regraft.evaluation.contact_sheet import contact_sheet
    from regraft.evaluation.data_card import describe_data

    (names,) = label_names.values()
    return (
        describe_data(manifest, names, pixels, seed=ingest.split.seed),
        contact_sheet(manifest, names, pixels),
    )
