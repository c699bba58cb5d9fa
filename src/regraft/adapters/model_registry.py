"""The model registry as a Kedro dataset: load is the champion's predictions, save registers a model.

Knows MLflow's client and the open run; decides nothing: which aliases a version gets is in the request.
"""

import base64
import hashlib
import json
import logging
import shutil
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from kedro.io import AbstractDataset

import regraft
from regraft.adapters import present_run
from regraft.adapters.live_metrics import flatten_metrics
from regraft.adapters.receipts import make_receipt
from regraft.adapters.tracking_server import environment
from regraft.registry.request import RegistrationRequest

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from regraft.adapters.tracked_run import TrackedRun

CHAMPION = "champion"
_DATASET = "registered_model"  # its name in the catalog
_HASH_TAG = "classifier_sha256"
CLASSIFIER, PREDICTIONS, CARD = "classifier.safetensors", "predictions.parquet", "model_card.md"
RECEIPT, IMAGES = "receipt.json", "images.parquet"
# What a prediction imports. regraft itself travels as source: it is on no package index, and the code that
# decoded and resized when the model was measured is the code that must do so when it is served.
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "pydantic",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)
_logger = logging.getLogger(__name__)


class RegisteredModelDataset(AbstractDataset[RegistrationRequest, pd.DataFrame | None]):
    """The registered model that `conf/**/tracking.yml` names.

    `load` gives the predictions recorded with the version that has the alias `champion`, None where there is
    none. `save` adds a version, or finds the one with the very same classifier, and points the aliases at it.
    """

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = {"mlflow": "model", **(metadata or {})}

    def load(self) -> pd.DataFrame | None:
        """The champion's predictions.

        Raises:
            TrackingError: If the registry does not answer, or the champion has none.
        """
        champion = _find_champion()
        if champion is None:
            return None
        from mlflow.artifacts import download_artifacts

        from regraft.adapters.tracked_run import explain_failures

        server = present_run.current_server()
        what = f"give the predictions recorded with {champion.name} version {champion.version}"
        with explain_failures(server, what), tempfile.TemporaryDirectory() as folder:
            source = server.connect().get_model_version_download_uri(champion.name, champion.version)
            path = download_artifacts(
                f"{source}/artifacts/{PREDICTIONS}", dst_path=folder, tracking_uri=server.uri
            )
            return pd.read_parquet(path)

    def save(self, data: RegistrationRequest) -> None:
        """Register a model in the open run.

        Raises:
            TrackingError: If no run is open, or the registry refuses.
        """
        from regraft.adapters.tracked_run import RegisteredVersion, explain_failures

        run = present_run.current_run()
        name = run.server.options.registered_model_name
        digest = hashlib.sha256(data.classifier_bytes).hexdigest()
        with explain_failures(run.server, f"register {name}"):
            existing = _find_version(run, name, digest)
            # MLflow's registry in SQL looks the model up in the default store, not in the client's.
            with environment(MLFLOW_TRACKING_URI=run.server.uri):
                version = existing or _add_version(run, name, digest, data)
            aliases = tuple(data.registration["aliases"])
            for alias in aliases:
                run.client.set_registered_model_alias(name, alias, version.version)
            if existing is not None:  # it may be the champion, and stays so
                kept = run.client.get_model_version(name, version.version).aliases
                aliases = (*aliases, *sorted(set(kept) - set(aliases)))
        run.registered = RegisteredVersion(name, str(version.version), aliases, is_new=existing is None)
        run.set_tags({"registered_model": f"{name} version {version.version}"})
        _logger.info(
            "%s version %s %s; aliases: %s",
            name,
            version.version,
            "is new" if existing is None else "is this very classifier: no new version",
            ", ".join(aliases) or "none",
        )

    def _exists(self) -> bool:
        return _find_champion() is not None

    def _describe(self) -> dict[str, Any]:
        return {}


def _find_champion() -> "ModelVersion | None":
    server = present_run.current_server()
    if server.database is not None and not server.database.exists():
        return None  # and MLflow would make it, in seconds
    from mlflow.exceptions import MlflowException

    from regraft.adapters.tracked_run import explain_failures

    name = server.options.registered_model_name
    with explain_failures(server, f"look for the champion of {name}"):
        try:
            return server.connect().get_model_version_by_alias(name, CHAMPION)
        except MlflowException as error:
            # MLflow has one code for a model it does not have, and another for an alias.
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" or f"alias {CHAMPION}" in str(error):
                return None
            raise


def _find_version(run: "TrackedRun", name: str, digest: str) -> "ModelVersion | None":
    found = run.client.search_model_versions(f"name = '{name}' and tags.{_HASH_TAG} = '{digest}'")
    return max(found, key=lambda version: int(version.version), default=None)


def _add_version(run: "TrackedRun", name: str, digest: str, request: RegistrationRequest) -> "ModelVersion":
    """Log the model into the run and make a version of it."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    of_the_run = ("mlflow.", "regraft.", "command", "registered_model")
    facts = {key: text for key, text in run.tags.items() if not key.startswith(of_the_run)}
    facts |= {
        key: str(value) for key, value in request.registration.items() if isinstance(value, str | int | float)
    }
    facts[_HASH_TAG] = digest
    model = run.client.create_logged_model(
        run.experiment_id, name="classifier", source_run_id=run.run_id, tags=facts, params=run.params
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder), run, model.model_id, request)
        run.client.log_model_artifacts(model.model_id, f"{folder}/model")
    run.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    run.client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    # MLflow shows a model's numbers only where they were logged with its id.
    run.log_metrics(flatten_metrics(request.metrics), model_id=model.model_id)
    try:
        run.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = run.client.create_model_version(
        name,
        source=f"models:/{model.model_id}",
        run_id=run.run_id,
        model_id=model.model_id,
        tags=facts,
        description=request.model_card,
    )
    link = json.dumps([{"name": name, "version": version.version}])
    run.client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: link})
    return version


def _write_model(folder: Path, run: "TrackedRun", model_id: str, request: RegistrationRequest) -> None:
    """Write MLflow's model folder to `model`: no pickle, the signature from the type hints of `predict`."""
    from mlflow import pyfunc
    from mlflow.models import Model

    (folder / CLASSIFIER).write_bytes(request.classifier_bytes)
    (folder / CARD).write_text(request.model_card, encoding="utf-8")
    request.predictions.to_parquet(folder / PREDICTIONS, index=False)
    request.images.to_parquet(folder / IMAGES, index=False)
    receipt = make_receipt(request, dataset=_DATASET)
    (folder / RECEIPT).write_text(receipt.to_json(), encoding="utf-8")
    example = [{"image": base64.b64encode(request.input_example).decode()}]
    # It warns where pip is not installed, as in environments made by uv; nothing here needs it.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    served, facts = "served_model.py", None
    if request.targets:
        served, facts = "served_targets.py", {"targets": [dict(target) for target in request.targets]}
    pyfunc.save_model(
        folder / "model",
        python_model=str(Path(__file__).with_name(served)),
        model_config=facts,
        artifacts={
            "classifier": str(folder / CLASSIFIER),
            "predictions": str(folder / PREDICTIONS),
            "model_card": str(folder / CARD),
            "receipt": str(folder / RECEIPT),
            "images": str(folder / IMAGES),
        },
        code_paths=[str(Path(regraft.__file__).parent)],
        pip_requirements=[f"{name}=={_public_version(name)}" for name in _REQUIREMENTS],
        input_example=example,
        mlflow_model=Model(run_id=run.run_id, model_id=model_id, model_uuid=model_id),
    )
    pyfunc.load_model(str(folder / "model")).predict(example)  # what cannot be served is not registered
    for bytecode in list((folder / "model").rglob("__pycache__")):
        shutil.rmtree(bytecode)  # left there by the import, and no one else's


def _public_version(name: str) -> str:
    return installed_version(name).partition("+")[0]  # 2.14.1+cpu is on no index
