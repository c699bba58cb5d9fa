"""The main job: the steps one after another, from images to a registered model."""

from kedro.pipeline import Pipeline

from regraft.pipelines import build_backbone, evaluate, fine_tune, ingest, normalize, register, train_head

STEPS = (ingest, normalize, build_backbone, train_head, fine_tune, evaluate, register)


def create_pipeline(**_: object) -> Pipeline:
    """Every step's nodes."""
    return sum((step.create_pipeline() for step in STEPS), start=Pipeline([]))
