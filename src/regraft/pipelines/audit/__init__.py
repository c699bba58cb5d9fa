"""The step `audit`."""

from regraft.pipelines.audit.pipeline import create_pipeline

__all__ = ["create_pipeline"]
