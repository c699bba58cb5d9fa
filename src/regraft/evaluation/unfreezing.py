"""What the report says of how much was unfrozen: the trials of a search, and the line between probe and tuned model.

Knows a history as plain data.
"""

from collections.abc import Mapping
from typing import Any

from regraft.evaluation.figure_style import percent

Table = dict[str, Any]


def unfreezing_tables(history: Mapping[str, Any]) -> list[Table]:
    """Tables of text of a search and of an interpolation; none of what was not done.

    Args:
        history: Of fine-tuning, with `search` and `interpolation`.
    """
    tables = []
    if rows := history.get("search"):
        tables.append(
            {
                "title": "What unfreeze: auto tried",
                "columns": [
                    "Trained",
                    "Epochs",
                    "Val log loss",
                    "Calibrated",
                    "Val accuracy",
                    "Worse than the best",
                    "Counts",
                ],
                "rows": [_trial(row) for row in rows],
                "num_more": 0,
            }
        )
    curve = history.get("interpolation", {})
    if rows := curve.get("rows"):
        tables.append(
            {
                "title": "Between probe (0) and fine-tuned model (1)",
                "columns": ["Coefficient", "Val log loss", "Val accuracy", ""],
                "rows": [
                    [
                        f"{row['coefficient']:g}",
                        f"{row['val_log_loss']:.4f}",
                        _accuracy(row),
                        "kept" if row["coefficient"] == curve["coefficient"] else "",
                    ]
                    for row in rows
                ],
                "num_more": 0,
            }
        )
    return tables


def _accuracy(row: Mapping[str, Any]) -> str:
    """A dash where several targets have no one accuracy."""
    value = row.get("val_accuracy")
    return "–" if value is None else percent(value)


def _trial(row: Mapping[str, Any]) -> list[str]:
    interval = f"{row['worse_than_best_low']:+.4f} to {row['worse_than_best_high']:+.4f}"
    return [
        row["candidate"],
        str(row["epochs"]),
        f"{row['val_log_loss']:.4f}",
        f"{row['val_calibrated_log_loss']:.4f}",
        _accuracy(row),
        f"{row['worse_than_best']:+.4f} ({interval})",
        percent(row["weight"]) if row["weight"] else "" if row["is_final"] else "dropped",
    ]
