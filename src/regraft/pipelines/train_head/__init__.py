"""The step `train_head`."""

from regraft.pipelines.train_head.pipeline import create_pipeline

__all__ = ["create_pipeline"]
