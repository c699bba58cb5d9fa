"""The step `build_backbone`: load it, cut it, freeze it, and run it over every image once."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.build_backbone.nodes import extract_features, extract_view_features, load_backbone


def create_pipeline(**_: object) -> Pipeline:
    """Weights and pixels to frozen features."""
    return Pipeline(
        [
            node(
                load_backbone,
                "params:build_backbone",
                ["backbone", "backbone_summary"],
                name="load_backbone",
            ),
            node(
                extract_features,
                ["backbone", "pixels", "preprocessing", "params:build_backbone.batch_size", "params:compute"],
                "features",
                name="extract_features",
            ),
            node(
                extract_view_features,
                [
                    "backbone",
                    "pixels",
                    "preprocessing",
                    "params:build_backbone.views",
                    "params:build_backbone.batch_size",
                    "params:compute",
                ],
                "view_features",
                name="extract_view_features",
            ),
        ],
        tags="build_backbone",
    )
