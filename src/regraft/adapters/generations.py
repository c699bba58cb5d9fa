"""Whether the files that a step reads belong together, where other steps wrote them in earlier runs.

Knows records and dvc.lock; runs nothing.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from regraft.adapters.dvc_lock import DvcLock
from regraft.adapters.files import ContentHashes
from regraft.adapters.fingerprints import file_of, plain
from regraft.adapters.node_records import NodeRecord, NodeRecords
from regraft.adapters.program import whole_program
from regraft.options.checking import SCHEMAS

# Where a step runs, and on how many cores, is no part of what it makes.
_NO_PART = {"params:compute"}


class StaleInputError(ValueError):
    """A step would read files that other steps made from something else than what is there now."""


class Generations:
    """Looks at the steps that a running part leaves out, and at what they left behind.

    Args:
        part: The pipeline that runs. What its own nodes write is no question: they run, or are found up to date.
        catalog: Where the files are.
        hashes: Of their contents.
        records: Of the nodes' last runs.
    """

    def __init__(
        self,
        part: Pipeline,
        catalog: CatalogProtocol[Any, Any],
        hashes: ContentHashes,
        records: NodeRecords,
    ) -> None:
        whole = whole_program(part)
        running = {node.name for node in part.nodes}
        self._catalog, self._hashes, self._records = catalog, hashes, records
        self._lock = DvcLock(Path("dvc.lock"))
        self._order = [node for node in whole.nodes if node.name not in running]
        self._producers = {name: node for node in self._order for name in node.outputs}

    def require_fresh_inputs(self, node: Node) -> None:
        """Refuse a node whose inputs do not belong together.

        Under DVC nothing is looked at: it has seen to that itself. Neither is a file of which no record is known.

        Raises:
            StaleInputError: In one line, with what differs and the command that mends it.
        """
        if "DVC_STAGE" in os.environ or not self._producers:
            return
        stale = {producer.name: fault for producer, fault in self._faults(node)}
        if not stale:
            return
        first = next(one for one in self._order if one.name in stale)
        told = next(one for one in reversed(self._order) if one.name in stale and one.tags == first.tags)
        again = list(dict.fromkeys(_step_of(one) for one in [*self._between(first, node), node]))
        raise StaleInputError(
            f"{node.name} would mix what does not belong together: {stale[told.name]}. Run "
            f"`kedro run --pipelines {','.join(again)}`, or everything that changed with "
            f"`kedro run --pipeline finetune`"
        )

    def _faults(self, node: Node) -> Iterator[tuple[Node, str]]:
        """All the producers behind a node that would write something else now, each with the first reason."""
        seen: set[str] = set()
        todo = [node]
        while todo:
            reader = todo.pop()
            for name in reader.inputs:
                producer = self._producers.get(name)
                if producer is None or (path := file_of(self._catalog, name)) is None:
                    continue
                if fault := self._fault(name, path, producer):
                    yield producer, fault
                if producer.name not in seen:
                    seen.add(producer.name)
                    todo.append(producer)

    def _fault(self, name: str, path: Path, producer: Node) -> str | None:
        content, record = self._hashes.of(path), self._records.read(producer.name)
        if content is None:
            return None  # Kedro says so
        fault = None if record is None else self._fault_by_record(name, content, record, producer)
        if (record is None or fault) and self._lock.wrote(path):
            # Made elsewhere, or checked out from DVC's cache: the record is of another file, or of another time.
            changed = [file.name for file in self._lock.changed_inputs(path)]
            return self._difference(name, changed, self._lock.parameters(path))
        return fault

    def _fault_by_record(self, name: str, content: str, record: NodeRecord, producer: Node) -> str | None:
        if record.outputs.get(name) != content:
            return f"{name!r} is not what {producer.name} wrote"
        changed = []
        for source, then in record.fingerprint["inputs"].items():
            path = file_of(self._catalog, source)
            now = None if path is None else self._hashes.of(path)
            if None not in (now, then) and now != then:
                changed.append(source)
        return self._difference(name, changed, record.fingerprint["parameters"])

    def _difference(self, name: str, changed_inputs: list[str], parameters: Mapping[str, Any]) -> str | None:
        if changed_inputs:
            return f"{name!r} was made from another {changed_inputs[0]!r}"
        for key, then in parameters.items():
            parameter = f"params:{key.removeprefix('params:')}"
            if parameter in _NO_PART or not self._catalog.exists(parameter):
                continue
            place = parameter.removeprefix("params:")
            for part, before, now in _differences(then, self._parameter(parameter), place):
                return f"{name!r} was made with {part}={before}, not {now} as now"
        return None

    def _parameter(self, name: str) -> Any:
        value = self._catalog.load(name)
        schema = SCHEMAS.get(name.removeprefix("params:"))
        # Kedro makes options of the parameters of those pipelines alone that it runs.
        return plain(schema.model_validate(value) if schema and isinstance(value, Mapping) else value)

    def _between(self, first: Node, last: Node) -> list[Node]:
        """Nodes that run again when `first` writes something else, up to `last`, in order."""
        changed = set(first.outputs)
        needed = _needed_by(last, self._producers)
        found = [first]
        for node in self._order:
            if node.name in needed and changed & set(node.inputs):
                found.append(node)
                changed |= set(node.outputs)
        return found


def _needed_by(node: Node, producers: Mapping[str, Node]) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        for name in todo.pop().inputs:
            if (producer := producers.get(name)) and producer.name not in found:
                found.add(producer.name)
                todo.append(producer)
    return found


def _differences(then: Any, now: Any, place: str) -> Iterator[tuple[str, Any, Any]]:
    """Values that both have and that differ; a key that one lacks is a matter of versions."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in then.keys() & now.keys():
            yield from _differences(then[key], now[key], f"{place}.{key}")
    elif then != now:
        yield place, then, now


def _step_of(node: Node) -> str:
    return next(iter(sorted(node.tags)), node.name)
