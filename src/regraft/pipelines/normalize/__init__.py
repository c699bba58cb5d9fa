"""The step `normalize`."""

from regraft.pipelines.normalize.pipeline import create_pipeline

__all__ = ["create_pipeline"]
