"""Classifiers of the MLflow registry, by address, as a dataset: a node asks it for the one it is told to use.

Knows the registry; not what a classifier is used for.
"""

# mypy: disallow-subclassing-any=False
# (kedro says nothing of its types)

import tempfile
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError


class RegisteredClassifiers(AbstractDataset[Any, Any]):
    """Loaded as itself."""

    def __init__(self, *, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata

    def load(self) -> "RegisteredClassifiers":
        """Itself: which classifier is wanted, the configuration says."""
        return self

    def save(self, data: Any) -> NoReturn:
        """Refused: `registered_model` registers.

        Raises:
            DatasetError: Always.
        """
        raise DatasetError("classifiers are registered by the step `register` alone")

    def fetch(self, address: str) -> Any:
        """The classifier of a version.

        Args:
            address: `models:/NAME/VERSION` or `models:/NAME@ALIAS`.

        Raises:
            TrackingError: If there is no such version; says which there are.
        """
        from regraft.adapters.model_registry import CLASSIFIER
        from regraft.adapters.present_run import current_server
        from regraft.adapters.registered_version import find_version
        from regraft.classifier import load_classifier

        version = find_version(current_server(), address)
        with tempfile.TemporaryDirectory() as folder:
            return load_classifier(version.download(f"artifacts/{CLASSIFIER}", Path(folder)))

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {}
