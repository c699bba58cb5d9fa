"""The whole program that a running pipeline is a part of.

Knows Kedro's registered pipelines; runs nothing.
"""

from kedro.framework import project
from kedro.pipeline import Pipeline


def whole_program(part: Pipeline) -> Pipeline:
    """The project's default pipeline where the running one is a part of it, else the running one."""
    if "__default__" not in project.pipelines:
        project.pipelines.set_requested(None)  # Kedro loads only what the command names
    whole = project.pipelines.get("__default__")
    names = {node.name for node in part.nodes}
    return whole if whole and names <= {node.name for node in whole.nodes} else part
