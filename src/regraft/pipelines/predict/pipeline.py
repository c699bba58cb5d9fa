"""The step `predict`: a trained classifier, or a pretrained network directly, on files without labels.

Stands beside the main job. It always runs: the registry's alias may have moved, and files are not hashed.
"""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.predict.nodes import predict_files


def create_pipeline(**_: object) -> Pipeline:
    """Files to a table, and a table of the files that cannot be read."""
    return Pipeline(
        [
            node(
                predict_files,
                ["registered_classifiers", "params:predict", "params:build_backbone", "params:compute"],
                ["file_predictions", "refused_files", "prediction_run"],
                name="predict_files",
            )
        ],
        tags="predict",
    )
