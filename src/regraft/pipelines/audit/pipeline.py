"""The step `audit`: which labels are likely wrong. No part of the main job; run it when you want to look."""

from kedro.pipeline import Pipeline, node

from regraft.pipelines.audit.nodes import audit_labels


def create_pipeline(**_: object) -> Pipeline:
    """Features and labels to suggestions for a person."""
    return Pipeline(
        [
            node(
                audit_labels,
                ["features", "pixels", "manifest", "label_names", "ingest_report", "params:audit"],
                ["label_suggestions", "label_audit_page", "label_audit"],
                name="audit_labels",
            )
        ],
        tags="audit",
    )
