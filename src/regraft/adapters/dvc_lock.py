"""What dvc.lock says of the files that are there: which stage wrote them, and from what.

Knows DVC's file format, not DVC; reads the file when it is first asked.
"""

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml


class DvcLock:
    """The files that the stages of dvc.yaml wrote last, in this clone or another.

    Args:
        path: The file, in the folder that its paths are relative to; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def wrote(self, file: Path) -> bool:
        """Whether a stage wrote this file as it is now."""
        recorded = self._outputs.get(self._key(file))
        return recorded is not None and recorded == _md5(file)

    def changed_inputs(self, file: Path) -> list[Path]:
        """Outputs of other stages that the file's stage read, and that are not as they were then."""
        return [
            self._path.parent / name
            for stage in self._stages_of(file)
            for name, recorded in _files(stage, "deps").items()
            if name in self._outputs and _md5(self._path.parent / name) not in (None, recorded)
        ]

    def parameters(self, file: Path) -> dict[str, Any]:
        """Parameters of the file's stage by their first key, as they were written, `${globals:…}` filled in."""
        found: dict[str, Any] = {}
        for stage in self._stages_of(file):
            files = stage.get("params") or {}
            shared = {
                key: value
                for name, keys in files.items()
                if name.endswith("globals.yml")
                for key, value in keys.items()
            }
            for name, keys in files.items():
                if not name.endswith("globals.yml"):
                    found |= {key: _filled_in(value, shared) for key, value in keys.items()}
        return found

    def _stages_of(self, file: Path) -> list[dict[str, Any]]:
        return [stage for stage in self._stages if self._key(file) in _files(stage, "outs")]

    def _key(self, file: Path) -> str:
        return Path(os.path.relpath(file, self._path.parent)).as_posix()

    @cached_property
    def _stages(self) -> list[dict[str, Any]]:
        try:
            lock = yaml.safe_load(self._path.read_text())
        except FileNotFoundError:
            return []
        return list(((lock or {}).get("stages") or {}).values())

    @cached_property
    def _outputs(self) -> dict[str, str]:
        return {name: md5 for stage in self._stages for name, md5 in _files(stage, "outs").items()}


def _files(stage: dict[str, Any], kind: str) -> dict[str, str]:
    """Hashes by path."""
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, ()) if "md5" in entry}


def _filled_in(value: Any, shared: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(part, shared) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled_in(part, shared) for part in value]
    is_reference = isinstance(value, str) and value.startswith("${globals:") and value.endswith("}")
    return shared.get(value.removeprefix("${globals:").removesuffix("}"), value) if is_reference else value


def _md5(path: Path) -> str | None:
    """DVC's hash of a file, or of a folder: of the list of its files; None if nothing is there."""
    if path.is_dir():
        files = sorted(
            (file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()
        )
        entries = [{"md5": _md5(file), "relpath": name} for name, file in files]
        return hashlib.md5(json.dumps(entries).encode()).hexdigest() + ".dir"
    if not path.is_file():
        return None
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()
