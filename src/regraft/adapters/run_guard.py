"""The Kedro hook that keeps runs apart and the project folder tidy.

Knows the lock, signals and leftovers; not what runs. Other hooks work inside the lock.
"""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from regraft.adapters.files import STATE_FOLDER, clear_leftovers, clear_leftovers_below
from regraft.adapters.fingerprints import file_of
from regraft.adapters.interrupts import raise_on_termination
from regraft.adapters.program import whole_program
from regraft.adapters.project_lock import ProjectLock

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol
    from kedro.pipeline import Pipeline


class RunGuardHook:
    """Holds the project's lock while a pipeline runs, whatever runner runs it; first clears what killed runs left."""

    def __init__(self) -> None:
        self._lock: ProjectLock | None = None

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: "Pipeline", catalog: "CatalogProtocol[Any, Any]"
    ) -> Generator[None, Any, Any]:
        """Take the lock, or stop here.

        Raises:
            ProjectInUseError: If another process runs a pipeline in this folder.
        """
        raise_on_termination()
        state = Path(run_params["project_path"]) / STATE_FOLDER
        self._lock = self._lock or ProjectLock(state / "lock")  # held since an interrupt in a notebook
        self._lock.take()
        try:
            clear_leftovers_below(state)
            for name in sorted(whole_program(pipeline).all_outputs()):
                if (path := file_of(catalog, name)) is not None:
                    clear_leftovers(path)
            return (yield)
        except BaseException:
            self._release()
            raise

    @hook_impl(wrapper=True)
    def after_pipeline_run(self) -> Generator[None, Any, Any]:
        """Release the lock when all others have done their last."""
        try:
            return (yield)
        finally:
            self._release()

    @hook_impl(wrapper=True)
    def on_pipeline_error(self) -> Generator[None, Any, Any]:
        """The same."""
        try:
            return (yield)
        finally:
            self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None
