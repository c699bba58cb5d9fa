"""The step `evaluate`: predict once, measure with intervals, draw, report."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.evaluate.nodes import (
    compare_split_kinds,
    draw_report,
    list_scores,
    measure_models,
    predict_images,
)

FIGURES = ("scores", "confusion_matrix", "classes", "calibration", "training", "mistakes")
SCORES = ("probe_val", "fine_tuned_val", "probe_test", "fine_tuned_test")


def create_pipeline(**_: object) -> Pipeline:
    """Models to metrics, figures and report."""
    return Pipeline(
        [
            node(
                predict_images,
                [
                    "backbone",
                    "head",
                    "classifier",
                    "pixels",
                    "manifest",
                    "targets",
                    "params:evaluate",
                    "params:compute",
                ],
                "predictions",
                name="predict_images",
            ),
            node(
                measure_models,
                ["predictions", "manifest", "label_names", "targets", "params:evaluate"],
                "metrics",
                name="measure_models",
            ),
            node(
                compare_split_kinds,
                ["features", "backbone_summary", "manifest", "label_names", "targets", "params:evaluate"],
                "split_kinds",
                name="compare_split_kinds",
            ),
            node(list_scores, "metrics", {name: f"{name}_scores" for name in SCORES}, name="list_scores"),
            node(
                draw_report,
                [
                    "predictions",
                    "metrics",
                    "split_kinds",
                    "head_history",
                    "fine_tune_history",
                    "balance",
                    "pixels",
                    "manifest",
                    "data_card",
                    "ingest_report",
                    "params:ingest",
                    "params:normalize",
                    "params:build_backbone",
                    "params:train_head",
                    "params:fine_tune",
                ],
                [*(f"{name}_figure" for name in FIGURES), "report"],
                name="draw_report",
            ),
        ],
        tags="evaluate",
    )
