"""The step `probe`: linear probes at every depth of the backbone, from images to a table and a figure.

Stands beside the main job: it needs the same images and features, and nothing of the main job needs it.
"""

from kedro.pipeline import Pipeline, node

from regraft.pipelines import build_backbone, ingest, normalize
from regraft.pipelines.probe.nodes import draw_depths, probe_depths


def create_pipeline(**_: object) -> Pipeline:
    """Images to features, as in the main job, and features to probes."""
    before = ingest.create_pipeline() + normalize.create_pipeline() + build_backbone.create_pipeline()
    return before + Pipeline(
        [
            node(
                probe_depths,
                ["features", "backbone_summary", "manifest", "label_names", "targets", "params:probe"],
                "depth_scores",
                name="probe_depths",
            ),
            node(
                draw_depths,
                ["depth_scores", "params:build_backbone.name"],
                ["depth_figure", "depth_report"],
                name="draw_depths",
            ),
        ],
        tags="probe",
    )
