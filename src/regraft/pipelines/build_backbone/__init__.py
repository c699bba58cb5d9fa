"""The step `build_backbone`."""

from regraft.pipelines.build_backbone.pipeline import create_pipeline

__all__ = ["create_pipeline"]
