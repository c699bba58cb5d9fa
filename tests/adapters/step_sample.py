"""A step of four nodes whose code is files in a temporary folder, a part of the package `regraft` for one test.

Its nodes append their names to `calls.txt`, so a test sees what ran.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any
from unittest.mock import patch

from kedro.framework import project
from kedro.io import AbstractDataset, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from pydantic import BaseModel

import regraft
from regraft.adapters import fingerprints, runner
from regraft.adapters.datasets import FileFolder, WholeJSON, WholeText

FILES = {
    "__init__.py": "",
    "nodes.py": """
from pathlib import Path

from regraft.sample.eager import FACTOR


def scale(numbers, options):
    from regraft.sample.lazy import times
    _call("scale")
    if options.fails:
        raise ValueError("planted")
    return [times(FACTOR, options.rate, number) for number in numbers], {"count": len(numbers)}


def describe(scaled):
    from regraft.sample.words import sentence
    _call("describe")
    return sentence(scaled)


def copy(scaled, cache):
    _call("copy")
    cache.save({"nodes.txt": Path("numbers.json")})
    return {"copied.json": Path("scaled.json")}


def publish(scaled):
    _call("publish")
    return scaled


def _call(name):
    with Path("calls.txt").open("a") as file:
        file.write(name + "\\n")
""",
    "eager.py": "FACTOR = 2\n",
    "lazy.py": "from regraft.sample.deeper import plus\n\ndef times(*factors):\n    return plus(*factors)\n",
    "deeper.py": "def plus(one, two, three):\n    return one * two * three\n",
    "words.py": "def sentence(scaled):\n    return f'they are {scaled}'\n",
    "words.j2": "a template\n",
    "stranger.py": "NOBODY = 'needs it'\n",
}


class Shelf(AbstractDataset[Any, Any]):
    """A place that is no file of the catalog, as a registry is."""

    def load(self) -> Any:
        return Path("shelf").read_text()

    def save(self, data: Any) -> None:
        Path("shelf").write_text(str(data))

    def _exists(self) -> bool:
        return Path("shelf").exists()

    def _describe(self) -> dict[str, Any]:
        return {}


class SampleOptions(BaseModel):
    """Parameters of the step, one of which may point outside the catalog."""

    rate: float = 10
    fails: bool = False
    outside: Path | None = None

    def external_paths(self) -> tuple[Path, ...]:
        return () if self.outside is None else (self.outside,)


class Sample:
    """The sample step in the working folder, run as often as a test likes, each time as if in a new process."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.options = SampleOptions()

    def run(self, *names: str, is_fresh: bool = False, is_trusting: bool = False) -> list[str]:
        """Run these nodes alone, or all; names of those that ran."""
        calls = Path("calls.txt")
        calls.write_text("")
        catalog, pipeline = self.load()
        project.pipelines.configure(None)
        project.pipelines["__default__"] = pipeline
        part = pipeline.only_nodes(*names) if names else pipeline
        try:
            runner.StepRunner(is_fresh=is_fresh, is_trusting=is_trusting).run(part, catalog)
        finally:
            self.called = calls.read_text().split()
        return self.called

    def load(self) -> tuple[DataCatalog, Pipeline]:
        """Catalog and pipeline, their code read anew."""
        fingerprints._imported.cache_clear()
        for name in [name for name in sys.modules if name.startswith("regraft.sample")]:
            del sys.modules[name]
        invalidate_caches()
        nodes: Any = import_module("regraft.sample.nodes")
        catalog = DataCatalog(
            {
                "numbers": WholeJSON(filepath="numbers.json"),
                "scaled": WholeJSON(filepath="scaled.json"),
                "counts": WholeJSON(filepath="counts.json"),
                "sentence": WholeText(filepath="sentence.txt"),
                "copies": FileFolder(filepath="copies"),
                "shelf": Shelf(),
                "cache": MemoryDataset(FileFolder(filepath="cache"), copy_mode="assign"),
                "params:sample": MemoryDataset(self.options, copy_mode="assign"),
            }
        )
        pipeline = Pipeline(
            [
                node(nodes.scale, ["numbers", "params:sample"], ["scaled", "counts"], name="scale"),
                node(nodes.describe, "scaled", "sentence", name="describe"),
                node(nodes.copy, ["scaled", "cache"], "copies", name="copy"),
                node(nodes.publish, "scaled", "shelf", name="publish"),
            ],
            tags="sample",
        )
        return catalog, pipeline

    def write(self, name: str, text: str) -> None:
        """Change a file of the step's code."""
        (self.package / name).write_text(text)

    def append(self, name: str, text: str) -> None:
        """Add to a file of the step's code."""
        self.write(name, (self.package / name).read_text() + text)


@contextmanager
def installed(package_root: Path) -> Iterator[Sample]:
    """The sample as `regraft.sample`; fingerprints look for it, and for nothing else, below `package_root`."""
    package = package_root / "regraft" / "sample"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    for name, text in FILES.items():
        (package / name).write_text(text)
    bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # two edits within a second would be one
    with (
        patch.object(regraft, "__path__", [str(package.parent), *regraft.__path__]),
        patch.object(regraft, "__file__", str(package.parent / "__init__.py")),
    ):
        try:
            yield Sample(package)
        finally:
            sys.dont_write_bytecode = bytecode
            fingerprints._imported.cache_clear()
            for name in [name for name in sys.modules if name.startswith("regraft.sample")]:
                del sys.modules[name]
            vars(regraft).pop("sample", None)
