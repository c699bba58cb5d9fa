"""A sample project in an empty folder, recorded in SQLite."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tracking_sample


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables, made once: it takes a second each time."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").get_experiment_by_name("sample")
    return path


@pytest.fixture
def make_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path
) -> Callable[..., Path]:
    """A sample project's root, which is also the working folder, by its name."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "DVC_EXP_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)

    def make(name: str = "project") -> Path:
        root = tmp_path / name
        root.mkdir()
        tracking_sample.write_project(root)
        shutil.copy(empty_database, root / "mlflow.db")
        monkeypatch.chdir(root)
        return root

    return make


@pytest.fixture
def root(make_project: Callable[..., Path]) -> Path:
    return make_project()
