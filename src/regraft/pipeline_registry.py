"""The pipelines by name: one a step, and `finetune`, all of them, which is also the default.

Knows no step: each is a folder below `pipelines/`.
"""

import difflib
import re
from importlib.resources import files

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

_FOLDER = "regraft.pipelines"


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines `kedro run --pipeline` takes; Kedro asks for the wanted ones alone, or for all.

    Raises:
        ValueError: If a wanted one is not there; lists those there are.
    """
    try:
        found = find_pipelines(raise_errors=True)
    except ImportError as error:
        # Kedro has no cause where there is no such folder; the name stands in its sentence alone.
        name = re.search(rf"'{_FOLDER}\.([^']*)'", str(error))
        if error.__cause__ is None and name:
            raise ValueError(_unknown(name[1])) from error
        raise
    return found | {"__default__": found["finetune"]} if "finetune" in found else found


def _unknown(name: str) -> str:
    known = sorted(
        entry.name for entry in files(_FOLDER).iterdir() if entry.joinpath("pipeline.py").is_file()
    )
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    suggestion = f". Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"unknown pipeline {name!r}; known: {', '.join(known)}{suggestion}"
