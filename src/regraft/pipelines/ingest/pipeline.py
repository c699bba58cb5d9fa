"""The step `ingest`: find, check, hash, index and split the images."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.ingest.nodes import copy_demo_images, index_images, split_images


def create_pipeline(**_: object) -> Pipeline:
    """Source to manifest."""
    return Pipeline(
        [
            node(copy_demo_images, "params:ingest", "demo_images", name="copy_demo_images"),
            node(
                index_images,
                ["demo_images", "ingest_save_points", "params:ingest"],
                ["image_index", "ingest_report"],
                name="index_images",
            ),
            node(
                split_images,
                ["image_index", "params:ingest"],
                ["manifest", "label_names", "targets"],
                name="split_images",
            ),
        ],
        tags="ingest",
    )
