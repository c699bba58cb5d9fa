"""The step `predict`: a model's labels for files without any."""

from regraft.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
