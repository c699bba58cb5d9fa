"""The pipeline `compare`."""

from regraft.pipelines.compare.pipeline import create_pipeline

__all__ = ["create_pipeline"]
