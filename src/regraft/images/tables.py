"""Tables: images listed in a CSV file.

Knows no options and opens no image; it checks that the listed files are there.
"""

import csv
import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regraft.images.faults import SourceError, join_faults, show_first, suggest_near
from regraft.images.folders import quote_path, require_file, require_folder
from regraft.images.shards import find_packed
from regraft.images.soft_labels import SOFT_PREFIX, WEIGHT, read_numbers
from regraft.images.splits import find_unknown_splits
from regraft.images.target_columns import PREFIX, AnyColumns, read_targets

Row = dict[str, Any]


def list_csv(
    path: Path,
    folder: Path,
    columns: Mapping[str, str | None],
    *,
    probability_columns: Mapping[str, str] = MappingProxyType({}),
    targets: Mapping[str, AnyColumns] = MappingProxyType({}),
) -> list[Row]:
    """Read the rows of a CSV with a header line; every value is text, and blanks around it are dropped.

    Args:
        path: The file, UTF-8, with commas.
        folder: What the paths in it are relative to.
        columns: The CSV's column for `path`, `label`, `group` and `split`, None for one that it does not have; for
            `soft_<label>` of the labels below, and for `weight`, if it has one.
        probability_columns: Labels whose probability is given, and the column that it stands in.
        targets: What is to be learnt instead of one label, by name; `columns` then has none for `label`.

    Returns:
        A row a line with these keys, in file order; `path` is posix with the folder in front. An empty
        group is None. Of targets, `target_<name>`, of points `target_<name>.x0`, `target_<name>.y0` and so on; `label`
        then is what images are split by, see `read_targets`.

    Raises:
        SourceError: If files, columns or values are missing, a file has two labels or two rows, or a split is
            none; all faults at once.
    """
    require_file(path, "ingest.source.path")
    require_folder(folder, "ingest.source.images")
    rows, keys, faults = _read_rows(path, columns, targets)
    for row in rows:
        row["path"] = Path(os.path.normpath(folder / str(row["path"]))).as_posix()
    faults += _find_contradictions(rows)
    faults += _find_missing_files(rows, folder)
    faults += read_targets(rows, targets, keys)
    faults += read_numbers(rows, probability_columns, has_weight=WEIGHT in columns)
    if columns["split"] is not None:
        faults += find_unknown_splits([row["split"] for row in rows])
    if not rows and not faults:
        faults.append("it has a header line and no row")
    if faults:
        raise SourceError(f"{path.as_posix()}: {join_faults(faults)}")
    return rows


def _read_rows(
    path: Path, columns: Mapping[str, str | None], targets: Mapping[str, AnyColumns]
) -> tuple[list[Row], dict[str, list[str]], list[str]]:
    """Rows as written, the keys of each target in them, and what is wrong with single lines; a column that is not
    there stops at once."""
    rows: list[Row] = []
    keys: dict[str, list[str]] = {}
    uneven, incomplete = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header = [name.strip() for name in next(lines, [])]
            of_targets = {name: target.of_header(header) for name, target in targets.items()}
            keys = {name: _keys(name, targets[name], of_targets[name]) for name in targets}
            columns = {**columns, **_joined(keys, of_targets)}
            if faults := _find_column_faults(columns, header):
                raise SourceError(f"{path.as_posix()}: {join_faults(faults)}")
            positions = {key: header.index(name) for key, name in columns.items() if name is not None}
            for values in lines:
                if not values:
                    continue
                if len(values) != len(header):
                    uneven.append(f"line {lines.line_num}")
                    continue
                found = {key: values[position].strip() or None for key, position in positions.items()}
                row: Row = dict.fromkeys(columns) | found
                if row["path"] is None or (row["label"] is None and not targets):
                    incomplete.append(f"line {lines.line_num}")
                else:
                    rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path.as_posix()} is not a CSV in UTF-8: {error}") from error
    faults = []
    if uneven:
        faults.append(
            f"{len(uneven)} lines have not {len(header)} values as the header: {show_first(uneven)}"
        )
    if incomplete:
        missing = "no path" if targets else "no path or no label"
        faults.append(f"{len(incomplete)} lines have {missing}: {show_first(incomplete)}")
    return rows, keys, faults


def _keys(name: str, target: AnyColumns, columns: Sequence[str]) -> list[str]:
    """What a row calls the columns of a target."""
    if target.kind != "points":
        return [PREFIX + name]
    return [f"{PREFIX}{name}.{'xy'[place % 2]}{place // 2}" for place in range(len(columns))]


def _joined(keys: Mapping[str, Sequence[str]], columns: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {key: column for name in keys for key, column in zip(keys[name], columns[name], strict=True)}


def _find_column_faults(columns: Mapping[str, str | None], header: list[str]) -> list[str]:
    """Wanted columns that the header lacks or has twice."""
    faults = []
    for key, name in columns.items():
        if name is not None and header.count(name) != 1:
            fault = f"{header.count(name)} columns" if name in header else "no column"
            option = _option_of(key)
            faults.append(f"{fault} {name!r} (ingest.source.{option}).{suggest_near(name, header)}")
    if faults:
        separator = " Is the separator a comma?" if len(header) == 1 else ""
        names = ", ".join(map(repr, header)) or "none, the file is empty"
        faults.append(f"the columns are: {names}.{separator}")
    return faults


def _option_of(key: str) -> str:
    """Which key of `ingest.source` names the column of a row's key."""
    if key.startswith(SOFT_PREFIX):
        return "probability_columns"
    return "targets" if key.startswith(PREFIX) else f"{key}_column"


def _find_contradictions(rows: list[Row]) -> list[str]:
    """Files with two labels, and files listed more than once."""
    labels_of_path = defaultdict(list)
    for row in rows:
        labels_of_path[str(row["path"])].append(str(row["label"]))
    several = {path: labels for path, labels in sorted(labels_of_path.items()) if len(labels) > 1}
    repeated = [path for path, labels in several.items() if len(set(labels)) == 1]
    two_labels = [
        f"{path} ({', '.join(sorted(set(labels)))})"
        for path, labels in several.items()
        if len(set(labels)) > 1
    ]
    faults = []
    if two_labels:
        faults.append(f"{len(two_labels)} files have two labels: {show_first(two_labels)}")
    if repeated:
        faults.append(f"{len(repeated)} files are listed more than once: {show_first(repeated)}")
    return faults


def _is_there(path: str) -> bool:
    """As a file, or in shards."""
    return Path(path).is_file() or find_packed(path) is not None


def _find_missing_files(rows: list[Row], folder: Path) -> list[str]:
    """Listed files that are not there."""
    missing = [path for path in sorted({str(row["path"]) for row in rows}) if not _is_there(path)]
    if not missing:
        return []
    backslash = " Paths are written with '/'." if any("\\" in path for path in missing) else ""
    respelled = [path for path in missing if _is_there_respelled(path)]
    composed = (
        f" Of {len(respelled)} there is a file whose letters are composed otherwise, as a Mac writes them: list "
        f"the names as the folder has them, in the same Unicode form ({show_first(respelled)})."
        if respelled
        else ""
    )
    return [
        f"{len(missing)} of {len(rows)} listed files are not there: {show_first(missing)}. Paths are "
        f"relative to {quote_path(folder)}; ingest.source.images names another folder.{backslash}{composed}"
    ]


def _is_there_respelled(path: str) -> bool:
    """Whether there is a file of the same name in another form of Unicode."""
    return _is_there(unicodedata.normalize("NFC", path)) or _is_there(unicodedata.normalize("NFD", path))
