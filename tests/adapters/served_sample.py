"""What tests of serving share: encoded images, a registered model as MLflow stores it, and a real server of it."""

import base64
import io
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tracking_sample
from PIL import Image
from tracking_sample import IMAGES, REGISTERING, WEIGHTS, Decision

from regraft.registry.request import RegistrationRequest


def encode(*images: bytes) -> list[dict[str, str]]:
    return [{"image": base64.b64encode(image).decode()} for image in images]


def noise(seed: int, file_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20 + seed, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, file_format)
    return file.getvalue()


def register(
    root: Path, classifier: bytes, encoded_image: bytes, targets: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Register a classifier's file; where MLflow has put the model."""
    from mlflow.tracking import MlflowClient

    Decision.request = RegistrationRequest(
        registration={"aliases": ["champion"], "model": "probe"},
        classifier_bytes=classifier,
        predictions=IMAGES,
        model_card="card",
        input_example=encoded_image,
        metrics={},
        images=IMAGES,
        weights=WEIGHTS,
        targets=targets,
    )
    tracking_sample.run(root, whole=REGISTERING)
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    return Path(client.get_model_version_download_uri("sample-classifier", "1"))


@contextmanager
def serving(model_folder: Path, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Serve a model on loopback, its log in a folder; the address that takes images."""
    port = tracking_sample.free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model_folder), "-p", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--env-manager", "local", "-h", "127.0.0.1"],
            cwd=folder,
            env={**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            for _ in range(1800):  # beside other work it takes a minute
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise TimeoutError((folder / "log").read_text())
            yield f"http://127.0.0.1:{port}/invocations"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
