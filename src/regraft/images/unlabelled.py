"""Images without labels: the files below a folder, or the paths in a CSV.

Opens no image; what is listed may turn out to be unreadable.
"""

import csv
import os
from pathlib import Path

from regraft.images.faults import SourceError, suggest_near
from regraft.images.folders import list_files, quote_path, require_file
from regraft.images.shards import holds_shards, packed_files


def list_unlabelled(path: Path, *, path_column: str) -> list[str]:
    """Paths, posix, of the files to predict.

    Args:
        path: A folder, at any depth, or the shards it was packed into; or a CSV whose paths are relative to its folder.
        path_column: Of the CSV.

    Raises:
        SourceError: If there is nothing there, or no such column.
    """
    if path.is_dir():
        if holds_shards(path):
            return [(path / name).as_posix() for name in packed_files(path)]
        if not (found := list_files(path)):
            raise SourceError(f"there is no file in {quote_path(path)} (predict.images)")
        return found
    require_file(path, "predict.images")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if path_column not in columns:
                raise SourceError(
                    f"{quote_path(path)} has no column {path_column!r} (predict.path_column); it has "
                    f"{', '.join(columns)}.{suggest_near(path_column, columns)}"
                )
            listed = [row[path_column].strip() for row in reader if row[path_column]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{quote_path(path)} is neither a folder nor a CSV in UTF-8: {error}") from error
    return [Path(os.path.normpath(path.parent / name)).as_posix() for name in listed]
