"""What dvc.lock says of the files that are there: which stage wrote them, and from what.

Knows DVC's file format, not DVC; reads the file when it is first asked.
"""

import hashlib
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
            for stage in self._stages
            if self._key(file) in _files(stage, "outs")
            for name, recorded in _files(stage, "deps").items()
            if name in self._outputs and _md5(self._path.parent / name) not in (None, recorded)
        ]

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
    """Hashes by path; folders, whose hash is DVC's own affair, left out."""
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, ()) if len(entry.get("md5", "")) == 32}


def _md5(file: Path) -> str | None:
    if not file.is_file():
        return None
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "md5").hexdigest()
