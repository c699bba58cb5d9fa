"""The step `normalize`: decode once, in the size and shape the backbone was pretrained on."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.normalize.nodes import choose_preprocessing, normalize_images


def create_pipeline(**_: object) -> Pipeline:
    """Manifest to pixels."""
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
        ],
        tags="normalize",
    )
