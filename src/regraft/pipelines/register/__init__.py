"""The step `register`."""

from regraft.pipelines.register.pipeline import create_pipeline

__all__ = ["create_pipeline"]
