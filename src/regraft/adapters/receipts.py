"""Gathers a receipt: what is true of the project, the code, the machine and the artefacts when a model is registered.

Knows Kedro's context and catalog; what a receipt is and how two compare is `registry`'s.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog, MemoryDataset

import regraft
from regraft.adapters.checkout import describe_checkout
from regraft.adapters.files import STATE_FOLDER, ContentHashes
from regraft.adapters.fingerprints import external_paths, file_of, fingerprint, output_hashes
from regraft.adapters.live_metrics import flatten_metrics
from regraft.adapters.machine import describe_machine, installed_versions
from regraft.adapters.node_records import NodeRecord, NodeRecords
from regraft.adapters.program import whole_program
from regraft.adapters.recordings import hash_rows
from regraft.adapters.tracking_server import TrackingError
from regraft.options.checking import SCHEMAS
from regraft.options.compute import ComputeOptions

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from regraft.registry.receipt import Receipt
    from regraft.registry.request import RegistrationRequest

LOCK_FILE = "requirements.lock"


@dataclass
class _State:
    """Of this process: Kedro makes the hook, and a dataset asks."""

    context: "KedroContext | None" = None
    catalog: "CatalogProtocol[Any, Any] | None" = None
    pipeline: "Pipeline | None" = None


_state = _State()


class ReceiptHook:
    """Remembers what runs, for the receipt of what will be registered."""

    @hook_impl
    def after_context_created(self, context: "KedroContext") -> None:
        """Remember project and parameters."""
        _state.context = context

    @hook_impl
    def before_pipeline_run(self, pipeline: "Pipeline", catalog: "CatalogProtocol[Any, Any]") -> None:
        """Remember pipeline and catalog."""
        _state.pipeline, _state.catalog = pipeline, catalog


def make_receipt(request: "RegistrationRequest", *, dataset: str) -> "Receipt":
    """The receipt of a model that is about to be registered.

    Args:
        request: What is registered.
        dataset: The catalog's name of what is saved; all nodes before it made the model.

    Raises:
        TrackingError: If no pipeline runs.
    """
    from regraft.registry.receipt import Code, Receipt, Result, Weights, find_seeds, hash_table

    if _state.context is None or _state.catalog is None or _state.pipeline is None:
        raise TrackingError(
            "no receipt without Kedro: settings.py needs ReceiptHook, and a pipeline must run"
        )
    project, parameters = Path(_state.context.project_path), _state.context.config_loader["parameters"]
    options = {key: SCHEMAS[key].model_validate(parameters[key]) for key in SCHEMAS if key in parameters}
    nodes = _nodes_before(dataset)
    read = {name for node in nodes for name in node.inputs}
    catalog = _typed_catalog(_state.catalog, nodes, options)
    hashes = ContentHashes(STATE_FOLDER / "hashes.json")
    checkout = describe_checkout(project)
    return Receipt(
        code=Code(
            commit=checkout.commit,
            changed=checkout.changed,
            diff_sha256=checkout.diff_sha256,
            files=_hash_code(project),
        ),
        lock_sha256=hashes.of(project / LOCK_FILE),
        parameters=dict(sorted(parameters.items())),
        seeds=find_seeds(parameters),
        data_sha256=hash_rows(request.images, ("sha256", "label", "group", "target_*")),
        num_images=len(request.images),
        external={
            path.as_posix(): None if project.is_relative_to((project / path).resolve()) else hashes.of(path)
            for key, one in options.items()
            if f"params:{key}" in read  # not what other programs read
            for path in external_paths(one)
        },
        weights=Weights(**request.weights),
        machine=describe_machine(ComputeOptions.model_validate(parameters["compute"])),
        versions=installed_versions(),
        files={
            path: digest
            for node in nodes
            for path, digest in _hash_outputs(node, catalog, hashes, project).items()
        },
        unverified=tuple(node.name for node in nodes if not has_present_result(node, catalog, hashes)),
        result=Result(
            model=request.registration["model"],
            classifier_sha256=hashlib.sha256(request.classifier_bytes).hexdigest(),
            predictions_sha256=hash_table(request.predictions),
            metrics={
                name: value
                for name, value in flatten_metrics(request.metrics).items()
                if math.isfinite(value)
            },
        ),
    )


def has_present_result(node: "Node", catalog: "CatalogProtocol[Any, Any]", hashes: ContentHashes) -> bool:
    """Whether it is on record that present code, parameters and inputs made the node's present outputs."""
    last = NodeRecords(STATE_FOLDER / "nodes").read(node.name)
    if last is None:
        return False
    present = NodeRecord(fingerprint(node, catalog, hashes), output_hashes(node, catalog, hashes))
    return last == present and None not in present.outputs.values()


def _nodes_before(dataset: str) -> "list[Node]":
    """In the order of running, those whose outputs the registry's state has no part in."""
    assert _state.pipeline is not None
    assert _state.catalog is not None
    found = []
    for node in whole_program(_state.pipeline).to_outputs(dataset).nodes:
        datasets = [_state.catalog.get(name) for name in node.outputs]
        if all((getattr(one, "metadata", None) or {}).get("dvc") != "none" for one in datasets):
            found.append(node)
    return [node for node in found if dataset not in node.outputs]


def _typed_catalog(
    catalog: "CatalogProtocol[Any, Any]", nodes: "list[Node]", options: dict[str, Any]
) -> DataCatalog:
    """A catalog with the options of all steps; Kedro types only those of the steps that it was asked to run."""
    names = {name for node in nodes for name in (*node.inputs, *node.outputs)}
    typed = {f"params:{key}": MemoryDataset(value) for key, value in options.items()}
    known: dict[str, AbstractDataset[Any, Any]] = {name: catalog[name] for name in sorted(names - set(typed))}
    return DataCatalog(known | typed)


def _hash_outputs(
    node: "Node", catalog: "CatalogProtocol[Any, Any]", hashes: ContentHashes, project: Path
) -> dict[str, str]:
    found = {}
    for name, digest in output_hashes(node, catalog, hashes).items():
        path = file_of(catalog, name)
        if path is not None and digest is not None:
            found[path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)] = (
                digest
            )
    return found


def _hash_code(project: Path) -> dict[str, str]:
    """Every file of the package, and the catalog, which says how artefacts are stored."""
    package = Path(regraft.__file__).parent
    files = {
        path.relative_to(package.parent).as_posix(): path
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    conf = {path.relative_to(project).as_posix(): path for path in sorted(project.glob("conf/base/catalog*"))}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in {**files, **conf}.items()}
