"""The step `fine_tune`: unfreeze some stages and train them at a low rate."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.fine_tune.nodes import fine_tune


def create_pipeline(**_: object) -> Pipeline:
    """Backbone and head to classifier."""
    return Pipeline(
        [
            node(
                fine_tune,
                [
                    "backbone",
                    "head",
                    "pixels",
                    "manifest",
                    "targets",
                    "balance",
                    "preprocessing",
                    "activations",
                    "fine_tune_save_points",
                    "params:fine_tune",
                    "params:train_head",
                    "params:compute",
                ],
                ["classifier", "fine_tune_history", "stage_receipt"],
                name="fine_tune",
            )
        ],
        tags="fine_tune",
    )
