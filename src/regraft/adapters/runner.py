"""Runs a pipeline's nodes in sequence, except those whose result is there already.

Knows fingerprints and records, nothing of what a node does.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from regraft.adapters.files import STATE_FOLDER, ContentHashes
from regraft.adapters.fingerprints import file_of, fingerprint, output_hashes
from regraft.adapters.generations import Generations
from regraft.adapters.interrupts import raise_if_received
from regraft.adapters.node_records import NodeRecord, NodeRecords
from regraft.adapters.unfinished import Unfinished
from regraft.adapters.write_faults import require_writable

if TYPE_CHECKING:
    from pluggy import PluginManager

STEPS_LOGGER = "regraft.steps"

_steps = logging.getLogger(STEPS_LOGGER)


class StepRunner(SequentialRunner):
    """Kedro's sequential runner that leaves out what has not changed.

    A node runs unless its code, parameters, input files and library versions are those of the last time it ended, and
    its outputs are still the files it wrote: by content, never by mere existence or time. Where only some of the steps
    run, what the others left behind must belong together.

    Args:
        is_async: As Kedro's; leave it off.
        is_fresh: Run every node, changed or not.
        is_trusting: Take what is there as it is, whether or not it belongs together.
    """

    def __init__(self, is_async: bool = False, is_fresh: bool = False, is_trusting: bool = False) -> None:
        super().__init__(is_async=is_async)
        self._is_fresh, self._is_trusting = is_fresh, is_trusting

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: "PluginManager | None" = None,
        run_id: str | None = None,
    ) -> None:
        assert hook_manager is not None  # `run` sees to it
        try:
            try:
                self._run_nodes(pipeline, catalog, hook_manager, run_id)
            except Exception:
                raise_if_received()
                raise
        except (KeyboardInterrupt, SystemExit) as stop:
            # Kedro tells its hooks of exceptions alone.
            hook_manager.hook.on_pipeline_error(error=stop, run_params={}, pipeline=pipeline, catalog=catalog)
            raise

    def _run_nodes(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hook_manager: "PluginManager",
        run_id: str | None,
    ) -> None:
        hashes = ContentHashes(STATE_FOLDER / "hashes.json")
        records = NodeRecords(STATE_FOLDER / "nodes")
        generations = Generations(pipeline, catalog, hashes, records)
        is_first = True
        for position, node in enumerate(pipeline.nodes):
            raise_if_received()
            if not self._is_trusting:
                generations.require_fresh_inputs(node)
            wanted = NodeRecord(fingerprint(node, catalog, hashes), output_hashes(node, catalog, hashes))
            if not self._is_fresh and _is_up_to_date(node, catalog, wanted, records.read(node.name)):
                _steps.info("%s is up to date", node.name, extra={"node": node, "is_skipped": True})
            else:
                if is_first:  # those that follow will run too, most likely: told before work of hours
                    _require_ready(pipeline.nodes[position:], catalog)
                    is_first = False
                records.mark_begun(node.name)
                unfinished = _unfinished(node, catalog)
                for work in unfinished:
                    work.begin(None if self._is_fresh else _circumstances(wanted))
                Task(node, catalog, is_async=False, hook_manager=hook_manager, run_id=run_id).execute()
                records.write(node.name, replace(wanted, outputs=output_hashes(node, catalog, hashes)))
                for work in unfinished:
                    work.finish()
            hashes.save()


def _is_up_to_date(
    node: Node, catalog: CatalogProtocol[Any, Any], wanted: NodeRecord, last: NodeRecord | None
) -> bool:
    """Whether the last run was of the very same, and all it made, in the registry too, is there."""
    return (
        wanted == last
        and None not in wanted.outputs.values()
        and all(catalog.exists(name) for name in node.outputs if name not in wanted.outputs)
    )


def _unfinished(node: Node, catalog: CatalogProtocol[Any, Any]) -> list[Unfinished]:
    """Datasets of a node that keep what it had done when it was killed."""
    datasets = [catalog.get(name) for name in dict.fromkeys([*node.inputs, *node.outputs])]
    return [dataset for dataset in datasets if isinstance(dataset, Unfinished)]


def _circumstances(record: NodeRecord) -> str:
    return hashlib.sha256(json.dumps(record.fingerprint, sort_keys=True).encode()).hexdigest()


def _require_ready(nodes: Sequence[Node], catalog: CatalogProtocol[Any, Any]) -> None:
    """Refuse nodes that cannot do their work: what they read from outside is missing, or there is no right to write."""
    for name in dict.fromkeys(name for node in nodes for name in node.inputs):
        if name.startswith("params:") and (require := getattr(catalog.load(name), "require_external", None)):
            require()
    for name in (name for node in nodes for name in node.outputs):
        if (path := file_of(catalog, name)) is not None:
            require_writable(path)
