"""The step `register`: the better model becomes a version, and champion if it is really better."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.register.nodes import decide_promotion, describe_model, register_model


def create_pipeline(**_: object) -> Pipeline:
    """Metrics to a version in the registry."""
    return Pipeline(
        [
            node(
                decide_promotion,
                ["predictions", "metrics", "champion_predictions", "params:register"],
                "registration",
                name="decide_promotion",
            ),
            node(
                describe_model,
                [
                    "metrics",
                    "registration",
                    "ingest_report",
                    "classifier",
                    "params:ingest",
                    "params:train_head",
                    "params:fine_tune",
                ],
                "model_card",
                name="describe_model",
            ),
            node(
                register_model,
                [
                    "registration",
                    "model_card",
                    "predictions",
                    "metrics",
                    "manifest",
                    "backbone",
                    "head",
                    "classifier",
                ],
                "registered_model",
                name="register_model",
            ),
        ],
        tags="register",
    )
