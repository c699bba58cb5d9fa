"""The pipeline `compare`: several backbones tried on the same images, cheapest evidence first."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines import ingest
from regraft.pipelines.compare.nodes import (
    choose_model,
    draw_comparison,
    fine_tune_finalists,
    probe_models,
    rank_probes,
)

_BENCH = [
    "manifest",
    "label_names",
    "targets",
    "compared_arrays",
    "compared_results",
    "params:compare",
    "params:normalize",
    "params:build_backbone",
    "params:train_head",
    "params:compute",
]


def create_pipeline(**_: object) -> Pipeline:
    """Images to a comparison of models."""
    return ingest.create_pipeline() + Pipeline(
        [
            node(probe_models, _BENCH, "compared_probes", name="probe_models"),
            node(
                rank_probes,
                ["compared_probes", "manifest", "label_names", "targets", "params:compare"],
                "compared_standings",
                name="rank_probes",
            ),
            node(
                fine_tune_finalists,
                [
                    "compared_probes",
                    "compared_standings",
                    "activations",
                    "compared_save_points",
                    *_BENCH,
                    "params:fine_tune",
                ],
                ["compared_fine_tuned", "compared_outcomes"],
                name="fine_tune_finalists",
            ),
            node(
                choose_model,
                [
                    "compared_probes",
                    "compared_fine_tuned",
                    "compared_outcomes",
                    "manifest",
                    "label_names",
                    "targets",
                    "params:compare",
                ],
                ["comparison", "comparison_table"],
                name="choose_model",
            ),
            node(
                draw_comparison,
                [
                    "comparison",
                    "params:ingest",
                    "params:normalize",
                    "params:train_head",
                    "params:fine_tune",
                    "params:compare",
                ],
                ["comparison_figure", "comparison_report"],
                name="draw_comparison",
            ),
        ],
        tags="compare",
    )
