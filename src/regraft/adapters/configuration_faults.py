"""Where a configuration is at fault that could not be read or put together: the file and line, or the key.

Knows files of YAML and how Kedro lays them over each other; what a key may hold the options say.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigTypeError, OmegaConfBaseException

_PARAMETERS = ("parameters*", "parameters*/**/*", "**/parameters*")
_SUFFIXES = {".yml", ".yaml", ".json"}


def explain_fault(error: BaseException, folders: Sequence[Path], given: Mapping[str, Any]) -> str | None:
    """One line for what a person can mend in the configuration; None if the error is of another kind.

    Args:
        error: What reading the configuration raised.
        folders: The environments' folders, each laid over those before it.
        given: Parameters of the command line, laid over all.
    """
    if isinstance(error, yaml.YAMLError):
        return _find_unreadable(folders)
    if isinstance(error, ConfigTypeError) and (clash := _find_clash(folders, given)):
        return clash
    if isinstance(error, OmegaConfBaseException):
        sentence = str(error).splitlines()[0]
        return f"{error.full_key}: {sentence}" if error.full_key else sentence
    return None


def _find_unreadable(folders: Sequence[Path]) -> str | None:
    for path in _files(folders, ("**/*",)):
        try:
            OmegaConf.load(path)
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            return f"{path}{line}: {error.problem}"
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            return f"{path}: {str(error).splitlines()[0]}"
    return None


def _find_clash(folders: Sequence[Path], given: Mapping[str, Any]) -> str | None:
    """The first key that is a list in one place and has keys of its own in another."""
    seen: dict[str, tuple[str, str]] = {}
    layers = [
        (str(path), OmegaConf.to_container(OmegaConf.load(path))) for path in _files(folders, _PARAMETERS)
    ]
    for origin, layer in [*layers, ("--params", given)]:
        for key, kind in _kinds(layer):
            before, where = seen.setdefault(key, (kind, origin))
            if before != kind:
                return f"{key}: {before} in {where}, {kind} in {origin}; it can be one of them"
    return None


def _kinds(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        yield key, "a list"
    elif isinstance(value, Mapping):
        if key:
            yield key, "keys and values"
        for name, below in value.items():
            yield from _kinds(below, f"{key}.{name}" if key else str(name))


def _files(folders: Sequence[Path], patterns: Sequence[str]) -> list[Path]:
    return [
        path
        for folder in folders
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern)})
        if path.suffix in _SUFFIXES and path.is_file()
    ]
