"""The main job: all steps."""

from regraft.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
