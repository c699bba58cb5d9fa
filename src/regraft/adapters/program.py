"""The whole program that a running pipeline is a part of.

Knows Kedro's registered pipelines; runs nothing.
"""

from kedro.framework import project
from kedro.pipeline import Pipeline


def whole_program(part: Pipeline) -> Pipeline:
    """The project's default pipeline where the running one is a part of it, else the registered one that is the
    smallest to hold it, else the running one."""
    return _find(part)[1]


def program_name(part: Pipeline) -> str | None:
    """The name of that pipeline; None for the default one, and for one that is not registered."""
    return _find(part)[0]


def read_parameters(part: Pipeline) -> set[str]:
    """The keys of the configuration that the whole program reads, at the first level."""
    inputs = whole_program(part).all_inputs()
    return {name.removeprefix("params:").partition(".")[0] for name in inputs if name.startswith("params:")}


def _find(part: Pipeline) -> tuple[str | None, Pipeline]:
    if "__default__" not in project.pipelines:
        project.pipelines.set_requested(None)  # Kedro loads only what the command names
    names = {node.name for node in part.nodes}
    holding = {
        name: whole
        for name, whole in project.pipelines.items()
        if names <= {node.name for node in whole.nodes}
    }
    if whole := holding.get("__default__"):
        return None, whole
    name = min(holding, key=lambda name: len(holding[name].nodes), default=None)
    return (None, part) if name is None else (name, holding[name])
