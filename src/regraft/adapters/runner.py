"""Runs a pipeline's nodes in sequence, except those whose result is there already.

Knows fingerprints and records, nothing of what a node does.
"""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from regraft.adapters.files import ContentHashes, written_whole
from regraft.adapters.fingerprints import fingerprint, output_hashes

if TYPE_CHECKING:
    from pluggy import PluginManager

STATE_FOLDER = Path(".regraft")
STEPS_LOGGER = "regraft.steps"

_steps = logging.getLogger(STEPS_LOGGER)


class StepRunner(SequentialRunner):
    """Kedro's sequential runner that leaves out what has not changed.

    A node runs unless its code, parameters, input files and library versions are those of the last time it ended, and
    its outputs are still the files it wrote: by content, never by mere existence or time.

    Args:
        is_async: As Kedro's; leave it off.
        is_fresh: Run every node, changed or not.
    """

    def __init__(self, is_async: bool = False, is_fresh: bool = False) -> None:
        super().__init__(is_async=is_async)
        self._is_fresh = is_fresh

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: "PluginManager | None" = None,
        run_id: str | None = None,
    ) -> None:
        hashes = ContentHashes(STATE_FOLDER / "hashes.json")
        for node in pipeline.nodes:
            present = fingerprint(node, catalog, hashes)
            outputs = output_hashes(node, catalog, hashes)
            if (
                not self._is_fresh
                and _is_up_to_date(node, present, outputs)
                and _are_there(node, catalog, outputs)
            ):
                _steps.info("%s is up to date", node.name, extra={"node": node, "is_skipped": True})
            else:
                _record_path(node).unlink(missing_ok=True)
                Task(node, catalog, is_async=False, hook_manager=hook_manager, run_id=run_id).execute()
                _record(node, present, output_hashes(node, catalog, hashes))
            hashes.save()


def _is_up_to_date(node: Node, present: dict[str, Any], outputs: dict[str, str | None]) -> bool:
    try:
        record = json.loads(_record_path(node).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return bool(record == {"fingerprint": present, "outputs": outputs} and None not in outputs.values())


def _are_there(node: Node, catalog: CatalogProtocol[Any, Any], outputs: dict[str, str | None]) -> bool:
    """Whether outputs that are no files (a model in the registry) still exist."""
    return all(catalog.exists(name) for name in node.outputs if name not in outputs)


def _record(node: Node, present: dict[str, Any], outputs: dict[str, str | None]) -> None:
    with written_whole(_record_path(node)) as aside:
        aside.write_text(json.dumps({"fingerprint": present, "outputs": outputs}, sort_keys=True, indent=1))


def _record_path(node: Node) -> Path:
    return STATE_FOLDER / "nodes" / f"{node.name}.json"
