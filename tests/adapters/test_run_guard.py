"""The hook inside Kedro's own hook manager, with other hooks that fail."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.framework import project
from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from pluggy import PluginManager

from regraft.adapters.datasets import WholeJSON
from regraft.adapters.run_guard import RunGuardHook
from regraft.adapters.runner import StepRunner
from regraft.messages import report_tags

PIPELINE = Pipeline(
    [node(lambda: 1, None, "one", name="first"), node(lambda one: one, "one", "two", name="second")]
)


class Other:
    """Another hook: notes whether the lock is held when it is called, and fails where it is told to."""

    def __init__(self, root: Path, fails_in: str = "") -> None:
        self.root, self.fails_in = root, fails_in
        self.saw: dict[str, bool] = {}

    @hook_impl
    def before_pipeline_run(self) -> None:
        self._note("before_pipeline_run")

    @hook_impl
    def after_pipeline_run(self) -> None:
        self._note("after_pipeline_run")

    @hook_impl
    def on_pipeline_error(self) -> None:
        self._note("on_pipeline_error")

    def _note(self, name: str) -> None:
        self.saw[name] = is_held(self.root)
        if name == self.fails_in:
            raise ValueError("planted")


def is_held(root: Path) -> bool:
    """Whether another process is refused."""
    script = "import sys\nfrom pathlib import Path\nfrom regraft.adapters.project_lock import ProjectLock\n"
    script += "ProjectLock(Path(sys.argv[1])).take()"
    command = [sys.executable, "-c", script, str(root / ".regraft" / "lock")]
    return subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    project.pipelines.configure(None)
    project.pipelines["__default__"] = PIPELINE
    return tmp_path


def manager_with(*hooks: object) -> PluginManager:
    manager = _create_hook_manager()
    for hook in hooks:
        manager.register(hook)
    return manager


def begin(manager: PluginManager, root: Path) -> DataCatalog:
    catalog = DataCatalog({"one": WholeJSON(filepath="one.json"), "two": MemoryDataset()})
    run_params = {"project_path": root.as_posix()}
    manager.hook.before_pipeline_run(run_params=run_params, pipeline=PIPELINE, catalog=catalog)
    return catalog


def test_other_hooks_work_inside_the_lock(root: Path) -> None:
    other = Other(root)
    manager = manager_with(RunGuardHook(), other)
    begin(manager, root)
    assert is_held(root)
    manager.hook.after_pipeline_run(run_params={}, run_result={}, pipeline=PIPELINE, catalog=None)
    assert other.saw == {"before_pipeline_run": True, "after_pipeline_run": True}
    assert not is_held(root)
    begin(manager, root)
    manager.hook.on_pipeline_error(error=ValueError(), run_params={}, pipeline=PIPELINE, catalog=None)
    assert other.saw["on_pipeline_error"]
    assert not is_held(root)


@pytest.mark.parametrize("place", ["before_pipeline_run", "after_pipeline_run", "on_pipeline_error"])
def test_a_hook_that_fails_leaves_no_lock(root: Path, place: str) -> None:
    manager = manager_with(RunGuardHook(), Other(root, place))

    def play() -> None:
        begin(manager, root)
        arguments: dict[str, Any] = {"run_params": {}, "pipeline": PIPELINE, "catalog": None}
        if place == "after_pipeline_run":
            manager.hook.after_pipeline_run(run_result={}, **arguments)
        manager.hook.on_pipeline_error(error=ValueError(), **arguments)

    with pytest.raises(ValueError, match="planted"):
        play()
    assert not is_held(root)


class Interrupted(MemoryDataset):
    """Somebody presses Ctrl-C while it is loaded."""

    def load(self) -> Any:
        assert is_held(Path.cwd())
        raise KeyboardInterrupt


def test_ctrl_c_in_a_notebook_leaves_no_lock(root: Path) -> None:
    manager = manager_with(RunGuardHook())
    begin(manager, root)
    catalog = DataCatalog({"tags": Interrupted({})})
    pipeline = Pipeline([node(report_tags, "tags", None, name="report")])
    with pytest.raises(KeyboardInterrupt):
        StepRunner().run(pipeline, catalog, manager)
    assert not is_held(root)


def test_what_killed_runs_left_is_cleared_first(root: Path) -> None:
    (root / ".one.json.writing").write_text("half")
    (root / ".regraft" / "activations").mkdir(parents=True)
    (root / ".regraft" / "activations" / ".key.npy.writing").write_text("half")
    (root / ".mine.writing").write_text("nobody's")
    begin(manager_with(RunGuardHook()), root)
    assert [path.name for path in sorted(root.rglob("*.writing"))] == [".mine.writing"]
