"""Where runs are kept: what `conf/**/tracking.yml` may say, the URI it means, and whether that answers.

Knows addresses and files; imports no MLflow until a client is asked for.
"""

import logging
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regraft.adapters.files import written_whole
from regraft.adapters.write_faults import free_bytes, size_text

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_SQLITE = "sqlite:///"
_LEAST_FREE_BYTES = 2_000_000  # MLflow's empty tables are 0.9 MB, and a change is written twice
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
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
            return _find_file_fault(self.database)
        found: list[str | None] = [f"no answer within {self.options.connect_timeout_s:g} s"]
        # On a thread, because looking up a host name obeys no timeout.
        asking = threading.Thread(
            target=lambda: found.append(_find_fault(self.uri, self.options.connect_timeout_s)), daemon=True
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
    if scheme not in {"sqlite", "http", "https", *_DATABASE_PORTS, "databricks"} and uri != "databricks":
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


def follow_moved_artifacts(database: Path, artifacts: str, *, experiment: str) -> int:
    """Mend MLflow's absolute paths after a checkout was moved or renamed together with its artifacts.

    MLflow writes the absolute folder of every run and model into its database. Nothing is done unless the
    folder recorded for the experiment is gone and the one expected now is there.

    Args:
        database: MLflow's SQLite file.
        artifacts: The artifact folder as it should be, absolute.
        experiment: Whose recorded folder tells where the artifacts were.

    Returns:
        How many paths were changed.
    """
    import sqlite3

    if not database.is_file() or not Path(artifacts).is_dir():
        return 0
    columns = (
        ("experiments", "artifact_location"),
        ("runs", "artifact_uri"),
        ("logged_models", "artifact_location"),
        ("model_versions", "storage_location"),
        ("model_versions", "source"),
    )
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not {table for table, _ in columns} <= tables:
            return 0
        query = "SELECT artifact_location FROM experiments WHERE name = ?"
        recorded = next((row[0] for row in connection.execute(query, [experiment])), None)
        if recorded is None or recorded == artifacts or "://" in recorded or Path(recorded).exists():
            return 0
        num_changed = 0
        for table, column in columns:
            num_changed += connection.execute(
                f"UPDATE {table} SET {column} = :new || substr({column}, :start) "
                f"WHERE {column} = :old OR {column} GLOB :below",
                {
                    "new": artifacts,
                    "old": recorded,
                    "start": len(recorded) + 1,
                    "below": f"{_escape_glob(recorded)}/*",
                },
            ).rowcount
        return num_changed


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


def _find_file_fault(database: Path) -> str | None:
    if not database.parent.is_dir():
        return f"there is no folder {database.parent}"
    if not os.access(database if database.exists() else database.parent, os.W_OK):
        return "no right to write there"
    free = free_bytes(database)
    return f"no room on the disk, {size_text(free)} free" if free < _LEAST_FREE_BYTES else None


def _find_fault(uri: str, timeout_s: float) -> str | None:
    parts = urlsplit(uri)
    scheme = parts.scheme.split("+")[0]
    if scheme in {"http", "https"}:
        return _find_http_fault(f"{uri.rstrip('/')}/health", timeout_s)
    if scheme in _DATABASE_PORTS and parts.hostname:
        address = (parts.hostname, parts.port or _DATABASE_PORTS[scheme])
        try:
            socket.create_connection(address, timeout_s).close()
        except OSError as error:
            return _reason(error)
    return None


def _find_http_fault(url: str, timeout_s: float) -> str | None:
    """Any answer will do, were it a request to log in: MLflow says the rest better."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent, nothing believed
    request = urllib.request.Request(re.sub(r"//[^@/]*@", "//", url))
    try:
        urllib.request.urlopen(request, timeout=timeout_s, context=context).close()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}" if error.code in {502, 503, 504} else None
    except urllib.error.URLError as error:
        return _reason(error.reason)
    except (OSError, ValueError) as error:
        return _reason(error)
    return None


def _reason(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:] if text else type(error).__name__


def _escape_glob(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
