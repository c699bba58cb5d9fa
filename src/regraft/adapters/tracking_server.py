"""Where runs are kept: what `conf/**/tracking.yml` may say, the URI it means, and whether that answers.

Knows addresses and files; imports no MLflow until a client is asked for.
"""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regraft.adapters.files import written_whole
from regraft.adapters.interrupts import postponed
from regraft.adapters.moved_artifacts import follow_moved_artifacts
from regraft.adapters.server_faults import DATABASE_PORTS, find_file_fault, find_server_fault

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_ALLOWED = "sqlite:///<file>, http(s)://<host>[:<port>], postgresql://…, mysql://…, mssql://…, databricks"

# Read when MLflow is imported, so set before: nothing is posted anywhere, its log goes where the project's
# logging says and not to a handler of its own, and it prints neither bars nor addresses between our lines.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Half a minute for a server to come back; its own 7 make every request to a dead one last two minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
}.items():
    os.environ.setdefault(_name, _value)


class TrackingError(ValueError):
    """Runs cannot be recorded as configured."""


class TrackingOptions(BaseModel):
    """The key `tracking`.

    Attributes:
        uri: Of MLflow; null is the SQLite file `mlflow.db`. `MLFLOW_TRACKING_URI` wins. A relative SQLite
            file is relative to the project's root.
        experiment: The runs' table in the UI; made where it is missing.
        artifacts: Folder for files and models, relative to the root, or a URI. A server keeps its own.
        registered_model_name: In the model registry.
        tags: Tags of a run, and the parameter (dotted) each is read from; `backbone` names the run too.
        system_metrics_interval_s: Seconds between looks at CPU, memory, disk, network and GPU; null for none.
        send_interval_s: Seconds between two batches of live metrics.
        connect_timeout_s: Seconds a server has to answer before a run is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None
    experiment: Annotated[str, Field(min_length=1)]
    artifacts: Annotated[str, Field(min_length=1)]
    registered_model_name: Annotated[str, Field(pattern=r"^[^/:%\"']+$")]
    tags: dict[str, str]
    system_metrics_interval_s: Annotated[float, Field(ge=0.1, le=3600)] | None
    send_interval_s: Annotated[float, Field(gt=0, le=3600)]
    connect_timeout_s: Annotated[float, Field(gt=0, le=60)]


@dataclass(frozen=True)
class TrackingServer:
    """A place for runs, fully resolved.

    Attributes:
        uri: Absolute, ready for MLflow's client; may hold a password.
        artifacts: Where a new experiment puts its files; None leaves it to the server.
        options: What was configured.
    """

    uri: str
    artifacts: str | None
    options: TrackingOptions

    @property
    def shown_uri(self) -> str:
        """`uri` without its password."""
        return re.sub(r"//[^@/]*@", "//***@", self.uri)

    @property
    def database(self) -> Path | None:
        """The SQLite file, if that is what it is."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def undisturbed(self) -> AbstractContextManager[None]:
        """A block in which no signal interrupts work in a database.

        What is interrupted there keeps its lock, and the run could not be ended. A request to a server may take half
        a minute and is interrupted.
        """
        return nullcontext() if self.artifacts is None else postponed()

    def check(self) -> None:
        """Find out, in about `connect_timeout_s` and without MLflow, whether runs can be kept here.

        Raises:
            TrackingError: If not; one line that names the URI and what to do.
        """
        fault = self.find_fault()
        if fault and self.database is not None:
            raise TrackingError(f"runs cannot be recorded in {self.database} ({fault}); nothing was run")
        if fault:
            raise TrackingError(
                f"MLflow at {self.shown_uri} does not answer ({fault}); nothing was run. Start the server, "
                f"mend tracking.uri or MLFLOW_TRACKING_URI, or unset both to record into mlflow.db"
            )

    def find_fault(self) -> str | None:
        """Why runs cannot be kept here, in a few words; None if they can."""
        if self.database is not None:
            return find_file_fault(self.database)
        found: list[str | None] = [f"no answer within {self.options.connect_timeout_s:g} s"]
        # On a thread, because looking up a host name obeys no timeout.
        asking = threading.Thread(
            target=lambda: found.append(find_server_fault(self.uri, self.options.connect_timeout_s)),
            daemon=True,
        )
        asking.start()
        asking.join(self.options.connect_timeout_s + 0.5)
        return found[-1]

    def connect(self) -> "MlflowClient":
        """MLflow's client for runs and registered models."""
        if self.database is not None and self.artifacts is not None:
            follow_moved_artifacts(self.database, self.artifacts, experiment=self.options.experiment)
        from mlflow.tracking import MlflowClient

        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a warning an attempt, else
        if self.database is not None and not self.database.exists():
            _create_database(self.database)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)


def read_options(config: Any) -> TrackingOptions:
    """Check what the configuration loader found under `tracking`.

    Raises:
        TrackingError: Naming every fault.
    """
    try:
        return TrackingOptions.model_validate(config)
    except ValidationError as error:
        known = ", ".join(TrackingOptions.model_fields)
        faults = [f"tracking.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise TrackingError(f"conf/**/tracking.yml: {'; '.join(faults)}. Known keys: {known}") from error


def resolve_server(options: TrackingOptions, *, project_path: Path) -> TrackingServer:
    """Turn options and environment into one place for runs.

    Args:
        options: The project's.
        project_path: The project's root. In a temporary experiment of DVC that folder is thrown away, so
            there the root of the repository that started it is taken instead.

    Raises:
        TrackingError: If the URI is of a kind that MLflow does not take.
    """
    root = _lasting_root(project_path.resolve())
    uri = os.environ.get("MLFLOW_TRACKING_URI") or options.uri or f"{_SQLITE}mlflow.db"
    if uri.startswith(_SQLITE):
        uri = f"{_SQLITE}{(root / uri.removeprefix(_SQLITE)).as_posix()}"
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme not in {"sqlite", "http", "https", *DATABASE_PORTS, "databricks"} and uri != "databricks":
        raise TrackingError(f"tracking.uri or MLFLOW_TRACKING_URI: got {uri!r}; allowed: {_ALLOWED}")
    if scheme in {"http", "https", "databricks"} or uri == "databricks":
        return TrackingServer(uri, None, options)
    is_uri = "://" in options.artifacts
    return TrackingServer(
        uri, options.artifacts if is_uri else (root / options.artifacts).as_posix(), options
    )


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while: some of MLflow's settings have no other way in."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _lasting_root(project_path: Path) -> Path:
    dvc_root = os.environ.get("DVC_ROOT")
    if dvc_root and project_path.is_relative_to(Path(dvc_root).resolve() / ".dvc" / "tmp"):
        return Path(dvc_root).resolve()
    return project_path


def _create_database(database: Path) -> None:
    """Have MLflow make its tables aside: killed on the way it would leave a file that it cannot open again."""
    from mlflow.tracking import MlflowClient

    with written_whole(database) as aside:
        # SQLite would roll back into the new file what a killed process had begun in the old one.
        aside.with_name(f"{aside.name}-journal").unlink(missing_ok=True)
        MlflowClient(tracking_uri=f"{_SQLITE}{aside.as_posix()}").search_experiments(max_results=1)
