"""The step `fine_tune`."""

from regraft.pipelines.fine_tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
