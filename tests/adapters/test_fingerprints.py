import ast
import json
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline.node import Node

import regraft
from regraft.adapters.datasets import WholeJSON
from regraft.adapters.files import ContentHashes
from regraft.adapters.fingerprints import code_files, external_paths, file_of, fingerprint, plain
from regraft.options.compute import ComputeOptions
from regraft.options.evaluate import EvaluateOptions
from regraft.pipelines.finetune import create_pipeline

PACKAGE = Path(regraft.__file__).parent


def node_named(name: str) -> Node:
    (found,) = [node for node in create_pipeline().nodes if node.name == name]
    return found


def modules_of(name: str) -> set[str]:
    return set(code_files(node_named(name)))


def python_files() -> Iterable[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def test_code_of_a_node_is_what_its_function_imports_lazily_and_what_that_imports() -> None:
    modules = modules_of("train_head")
    assert {
        "regraft.pipelines.train_head.nodes",
        "regraft.training.head",
        "regraft.training.linear_probe",  # imported by training.head
        "regraft.heads.targets",
        "regraft.options.train_head",  # imported by the module
        "regraft",
    } <= modules


def test_code_of_the_modules_other_functions_is_not_a_nodes() -> None:
    both = {"regraft.pipelines.build_backbone.nodes", "regraft.options.build_backbone"}
    load, extract = modules_of("load_backbone"), modules_of("extract_features")
    assert both <= load & extract
    assert "regraft.training.features" in extract - load
    assert "regraft.images.preprocessing" in extract - load
    choose, normalize = modules_of("choose_preprocessing"), modules_of("normalize_images")
    assert "regraft.images.pixels" in normalize - choose


@pytest.mark.parametrize(
    ("node", "foreign"),
    [
        ("train_head", "regraft.training.fine_tune"),
        ("train_head", "regraft.options.evaluate"),
        ("fine_tune", "regraft.evaluation"),
        ("index_images", "regraft.backbones.backbone"),
    ],
)
def test_a_node_does_not_depend_on_what_it_does_not_need(node: str, foreign: str) -> None:
    assert not [module for module in modules_of(node) if module.startswith(foreign)]


def test_a_template_beside_its_module_is_code() -> None:
    assert PACKAGE / "evaluation" / "report.html.j2" in code_files(node_named("draw_report")).values()


def test_code_is_files_of_the_package_that_are_there() -> None:
    for node in create_pipeline().nodes:
        for path in code_files(node).values():
            assert path.is_file()
            assert path.is_relative_to(PACKAGE)


def test_modules_of_nodes_hold_nodes_alone() -> None:
    """A helper's lazy imports would be taken for those of another node, and be missing."""
    for path, tree in python_files():
        if path.name == "nodes.py":
            module = f"regraft.pipelines.{path.parent.name}.nodes"
            pipeline = import_module(f"regraft.pipelines.{path.parent.name}").create_pipeline()
            functions = {(node.func.__module__, node.func.__name__) for node in pipeline.nodes}
            for statement in tree.body:
                if isinstance(statement, ast.FunctionDef):
                    assert (module, statement.name) in functions


def test_every_import_of_the_package_can_be_read_off_its_text() -> None:
    """Relative imports, and modules named by a string, would be missing among a node's code."""
    for path, tree in python_files():
        for part in ast.walk(tree):
            assert not (isinstance(part, ast.ImportFrom) and part.level), f"relative import in {path}"
            assert not (isinstance(part, ast.Name) and part.id in ("import_module", "__import__")), path


class Pointing(EvaluateOptions):
    """Options that point outside the catalog."""

    def external_paths(self) -> tuple[Path, ...]:
        return (Path("outside.txt"),)


OPTIONS: dict[str, Any] = {"num_resamples": 100, "confidence": 0.9, "batch_size": 1, "seed": 0}


def test_fingerprint_is_json_of_all_that_a_result_follows_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("outside.txt").write_text("outside")
    node = node_named("measure_models")
    datasets: dict[str, Any] = {name: WholeJSON(filepath=f"{name}.json") for name in node.inputs}
    datasets["params:evaluate"] = MemoryDataset(Pointing(**OPTIONS), copy_mode="assign")
    datasets["manifest"] = MemoryDataset({})
    Path("predictions.json").write_text("{}")
    found = fingerprint(node, DataCatalog(datasets), ContentHashes(tmp_path / "hashes.json"))
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"code", "parameters", "inputs", "external", "versions"}
    assert found["parameters"]["params:evaluate"]["num_resamples"] == 100
    assert set(found["inputs"]) == {"predictions", "label_names", "targets"}, (
        "a memory dataset has no content to hash"
    )
    assert found["inputs"]["predictions"] is not None
    assert found["inputs"]["label_names"] is None
    assert list(found["external"]) == ["outside.txt"]
    assert found["versions"]["torch"]
    assert all(len(value) == 64 for value in found["code"].values())


def test_parts() -> None:
    compute = ComputeOptions(device="cpu", precision="auto", num_workers=None, deterministic=True)
    assert plain(compute) == {
        "device": "cpu",
        "precision": "auto",
        "num_workers": None,
        "deterministic": True,
        "engine": "torch",
    }
    assert plain([1, "a"]) == [1, "a"]
    assert external_paths(compute) == external_paths("text") == ()
    assert external_paths(Pointing(**OPTIONS)) == (Path("outside.txt"),)
    catalog = DataCatalog({"one": WholeJSON(filepath="a/b.json"), "two": MemoryDataset(1)})
    assert file_of(catalog, "one") == Path("a/b.json")
    assert file_of(catalog, "two") is None
