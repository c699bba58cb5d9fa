"""The step `normalize`: decode once, in the size and shape the backbone was pretrained on."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.normalize.nodes import choose_preprocessing, describe_data, normalize_images


def create_pipeline(**_: object) -> Pipeline:
    """Manifest to pixels, and what they hold."""
    return Pipeline(
        [
            node(
                choose_preprocessing,
                ["params:normalize", "params:build_backbone"],
                "preprocessing",
                name="choose_preprocessing",
            ),
            node(
                normalize_images,
                ["manifest", "preprocessing", "params:compute"],
                "pixels",
                name="normalize_images",
            ),
            node(
                describe_data,
                ["manifest", "label_names", "pixels", "params:ingest"],
                ["data_card", "contact_sheet_figure"],
                name="describe_data",
            ),
        ],
        tags="normalize",
    )
