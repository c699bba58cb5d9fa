"""One version of a registered model by its address, and the files that were kept with it.

Knows MLflow's client; not what is in the files.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regraft.adapters.tracking_server import TrackingError, TrackingServer, environment
from regraft.images.faults import show_first, suggest_near

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class RegisteredVersion:
    """A version that exists.

    Attributes:
        server: Where.
        name: Of the registered model.
        version: Its number.
    """

    server: TrackingServer
    name: str
    version: str

    @property
    def address(self) -> str:
        """As MLflow writes it."""
        return f"models:/{self.name}/{self.version}"

    def download(self, path: str, folder: Path) -> Path:
        """A file or folder of the logged model, copied to a folder.

        Raises:
            TrackingError: If it is not there, or cannot be had.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        from regraft.adapters.tracked_run import explain_failures

        what = f"give {path} of {self.address}"
        with explain_failures(self.server, what), environment(MLFLOW_TRACKING_URI=self.server.uri):
            source = self.server.connect().get_model_version_download_uri(self.name, self.version)
            try:
                return Path(
                    download_artifacts(f"{source}/{path}", dst_path=str(folder), tracking_uri=self.server.uri)
                )
            except OSError as error:
                raise MlflowException(f"it is not among its files ({error})") from error


def find_version(server: TrackingServer, address: str) -> RegisteredVersion:
    """The version that an address means.

    Args:
        server: Where to look.
        address: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

    Raises:
        TrackingError: If the address is of another form, or there is no such model, version or alias; says
            which there are.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise TrackingError(
            f"got {address!r}; allowed are models:/NAME/VERSION and models:/NAME@ALIAS, such as "
            f"models:/{server.options.registered_model_name}@champion"
        )
    server.check()
    if server.database is not None and not server.database.exists():
        raise TrackingError(f"nothing was ever registered here: there is no {server.database}")
    from regraft.adapters.tracked_run import explain_failures

    with explain_failures(server, f"look for {address}"):
        return RegisteredVersion(server, parts["name"], _find_number(server, server.connect(), parts))


def _find_number(server: TrackingServer, client: "MlflowClient", parts: re.Match[str]) -> str:
    name = parts["name"]
    numbers = [str(one.version) for one in client.search_model_versions(f"name = '{name}'")]
    if not numbers:
        names = sorted(model.name for model in client.search_registered_models())
        raise TrackingError(
            f"there is no registered model {name!r} in {server.shown_uri}; known: {show_first(names) or 'none'}."
            f"{suggest_near(name, names)}"
        )
    if parts["version"]:
        if parts["version"] not in numbers:
            raise TrackingError(
                f"{name} has no version {parts['version']}; it has {show_first(sorted(numbers, key=int))}"
            )
        return parts["version"]
    aliases = client.get_registered_model(name).aliases
    if parts["alias"] not in aliases:
        known = sorted(aliases)
        raise TrackingError(
            f"no version of {name} has the alias {parts['alias']!r}; known: {show_first(known) or 'none'}."
            f"{suggest_near(parts['alias'], known)}"
        )
    return str(aliases[parts["alias"]])
