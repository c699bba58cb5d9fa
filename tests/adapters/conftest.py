"""A sample project in an empty folder, recorded in SQLite."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regraft.adapters.tracking_server import TrackingError, TrackingServer, read_options, resolve_server

sys.path.insert(
    0, str(Path(__file__).parent)
)  # pytest's import mode does not, and the sample is a script too

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


@pytest.fixture(scope="session")
def make_classifier() -> Callable[[int], bytes]:
    """The file of a small untrained classifier of two classes; another seed, other bytes."""
    import torch

    from regraft.backbones.backbone import build_backbone
    from regraft.classifier import Head, assemble, classifier_bytes
    from regraft.heads.layers import LinearLayers
    from regraft.heads.targets import target_for
    from regraft.images.preprocessing import Preprocessing

    backbone = build_backbone("mobilenet_v3_small", weights=None, cut="features.2")
    preprocessing = Preprocessing(
        size=32, resize_size=32, fit="stretch", interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )

    def make(seed: int) -> bytes:
        torch.manual_seed(seed)
        target, layers = target_for("label", ("functional", "defective")), LinearLayers()
        head = Head(layers.build(backbone.feature_dim, 1), layers, backbone.feature_dim, target)
        return classifier_bytes(assemble(backbone, head, preprocessing, views="identity"))

    return make


@pytest.fixture(scope="session")
def encoded_image() -> bytes:
    """A PNG of 40×30 noise."""
    import io

    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[str]:
    """The URI of an `mlflow server` on loopback, shared by all tests."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(empty_database.read_bytes())
    port = tracking_sample.free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            server = resolve_server(
                read_options(tracking_sample.TRACKING | {"uri": f"http://127.0.0.1:{port}"}),
                project_path=folder,
            )
            wait_for(server, process)
            yield server.uri
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


def wait_for(server: TrackingServer, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(240):
        assert process.poll() is None
        try:
            return server.check()
        except TrackingError:
            time.sleep(0.25)
    raise TimeoutError(server.uri)
