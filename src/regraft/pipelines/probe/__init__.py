"""The step `probe`: what each depth of the backbone says of the labels."""

from regraft.pipelines.probe.pipeline import create_pipeline

__all__ = ["create_pipeline"]
