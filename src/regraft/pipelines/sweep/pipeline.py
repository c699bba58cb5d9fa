"""The pipeline `sweep`: settings of head and fine-tuning tried on one backbone, the best written down."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines import build_backbone, ingest, normalize
from regraft.pipelines.sweep.nodes import draw_sweep, try_settings


def create_pipeline(**_: object) -> Pipeline:
    """Images to the best settings."""
    before = sum((step.create_pipeline() for step in (ingest, normalize, build_backbone)), start=Pipeline([]))
    return before + Pipeline(
        [
            node(
                try_settings,
                [
                    "backbone",
                    "features",
                    "pixels",
                    "manifest",
                    "label_names",
                    "preprocessing",
                    "activations",
                    "sweep_journals",
                    "params:sweep",
                    "params:train_head",
                    "params:fine_tune",
                    "params:compute",
                ],
                ["sweep_trials", "sweep_table", "best_parameters"],
                name="try_settings",
            ),
            node(draw_sweep, "sweep_trials", "sweep_figure", name="draw_sweep"),
        ],
        tags="sweep",
    )
