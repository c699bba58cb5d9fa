"""Mends the absolute paths that MLflow keeps, after a checkout was moved or renamed.

Knows MLflow's tables in SQLite; imports no MLflow.
"""

import re
from contextlib import closing
from pathlib import Path


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


def _escape_glob(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
