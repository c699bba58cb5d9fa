"""The pipelines by name: one a step, and `finetune`, all of them, which is also the default.

Knows no step: each is a folder below `pipelines/`.
"""

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines `kedro run --pipeline` takes; Kedro asks for the wanted ones alone, or for all."""
    found = find_pipelines(raise_errors=True)
    return found | {"__default__": found["finetune"]} if "finetune" in found else found
