"""The step `train_head`: fit a head on features that never change."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.train_head.nodes import choose_stages, train_head


def create_pipeline(**_: object) -> Pipeline:
    """Features to head."""
    return Pipeline(
        [
            node(
                choose_stages,
                [
                    "features",
                    "backbone_summary",
                    "manifest",
                    "label_names",
                    "targets",
                    "params:build_backbone",
                    "params:train_head",
                    "params:probe",
                ],
                "head_stages",
                name="choose_stages",
            ),
            node(
                train_head,
                [
                    "features",
                    "view_features",
                    "backbone_summary",
                    "manifest",
                    "label_names",
                    "targets",
                    "head_stages",
                    "params:train_head",
                ],
                ["head", "head_history", "balance"],
                name="train_head",
            ),
        ],
        tags="train_head",
    )
