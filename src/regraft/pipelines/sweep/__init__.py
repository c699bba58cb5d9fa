"""The pipeline `sweep`."""

from regraft.pipelines.sweep.pipeline import create_pipeline

__all__ = ["create_pipeline"]
