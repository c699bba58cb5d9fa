"""Nodes of the step `ingest`: from a source of images to a manifest.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from regraft.messages import report_progress
from regraft.options.ingest import IngestOptions


def copy_demo_images(options: IngestOptions) -> dict[str, Path]:
    """Files that the default source brings in a package; none for images of one's own."""
    from regraft.images.sources import demo_files

    return demo_files(options.source)


def index_images(
    demo_images: Path, ingest_save_points: Any, options: IngestOptions
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Every readable image, and what was found on the way. `demo_images` is where the default source reads."""
    from regraft.images.corrections import apply_corrections
    from regraft.images.index import index_images
    from regraft.images.related import relate_images, report_leaks
    from regraft.images.sources import label_order, list_images

    listing, corrected = list_images(options.source), {}
    if options.corrections is not None:
        listing, done = apply_corrections(
            listing, options.corrections, label_order=label_order(options.source)
        )
        corrected = {"corrections": done}
    image_index, report, thumbnails = index_images(
        listing,
        max_unreadable_fraction=options.max_unreadable_fraction,
        exclude=options.exclude,
        skipped=options.source.list_skipped(),
        on_progress=partial(report_progress, "reading images"),
        save_points=ingest_save_points,
    )
    image_index, found = relate_images(
        image_index, thumbnails, near_copies=options.near_copies, groups=options.inferred_groups
    )
    leaks = report_leaks(image_index) if options.split.kind == "given" else {}
    return image_index, leaks | report | found | corrected


def split_images(
    image_index: pd.DataFrame, options: IngestOptions
) -> tuple[pd.DataFrame, dict[str, list[str]], list[dict[str, Any]]]:
    """Train, val and test, label numbers, and what there is to be learnt where it is more than one label."""
    from regraft.images.manifest import add_targets, build_manifest
    from regraft.images.sources import label_order
    from regraft.images.target_columns import split_by_classes

    manifest, label_names = build_manifest(
        image_index,
        options.split,
        min_images_per_class=options.min_images_per_class,
        label_order=label_order(options.source),
        are_classes=split_by_classes(options.source.target_columns()),
    )
    manifest, targets = add_targets(
        manifest, options.source.target_columns(), min_images_per_class=options.min_images_per_class
    )
    return manifest, label_names, targets
