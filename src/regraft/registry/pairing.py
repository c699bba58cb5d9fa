"""Tables of predictions of a candidate and a champion: whether they can be compared, and on which images.

Knows columns and settings; no metric, nor which of the two is better.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd

Requirement = Literal["better", "significantly_better"]

MODELS = ("probe", "fine_tuned")
REQUIREMENTS = ("better", "significantly_better")


class ComparisonError(ValueError):
    """Predictions or settings with which no decision can be made: all faults."""


def check_choices(choices: Mapping[str, tuple[str, Sequence[str]]]) -> list[str]:
    """What is wrong with settings, by name: what was got, and what is allowed."""
    faults = []
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            near = difflib.get_close_matches(value, allowed, n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            faults.append(f"unknown {key} {value!r}; known: {', '.join(allowed)}.{hint}")
    return faults


def check_tables(
    candidate: pd.DataFrame,
    champion: pd.DataFrame | None,
    *,
    columns: Sequence[str],
    champion_columns: Sequence[str],
) -> list[str]:
    """What is wrong with tables of predictions, of which the candidate's are of two models and the champion's of one.

    Args:
        candidate: Its predictions.
        champion: Those recorded with it; None if there is no champion.
        columns: What the first must have.
        champion_columns: What the second must have.
    """
    faults = []
    tables = [("the candidate's predictions", candidate, columns, "")]
    if champion is not None:
        tables.append(
            ("the champion's predictions", champion, champion_columns, "the one model that was registered")
        )
    for whose, table, needed, expected in tables:
        missing = [column for column in needed if column not in table.columns]
        if missing:
            faults.append(f"{whose} lack the columns {', '.join(missing)}")
            continue
        models = sorted(set(table["model"]))
        if not expected and models != sorted(MODELS):
            faults.append(f"{whose} are of {models}; expected are {' and '.join(MODELS)}")
        if expected and len(models) != 1:
            faults.append(f"{whose} are of {models}; expected is {expected}")
        if not (table["split"] == "test").any():
            faults.append(f"{whose} have no image in the split 'test'")
    return faults


def rows_of_test(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the split `test`."""
    return table[table["split"] == "test"].reset_index(drop=True)


def num_in_common(candidate: pd.DataFrame, champion: pd.DataFrame) -> int:
    """How many of a candidate's rows are of files that the champion was tested on."""
    return int(candidate["sha256"].isin(champion["sha256"]).sum())


def image_obstacles(candidate: pd.DataFrame, champion: pd.DataFrame, *, num_torn: int) -> list[str]:
    """Why test rows cannot be paired, in sentences; empty if they can.

    Args:
        candidate: Its test rows.
        champion: Its test rows.
        num_torn: Files to which the champion's record has more than one answer.
    """
    reasons = []
    num_common = num_in_common(candidate, champion)
    if num_common < len(candidate):
        reasons.append(
            f"Not promoted: of the candidate's {len(candidate)} test images only {num_common} are among the "
            f"champion's {len(champion)} test images; it may have been trained on the others. Train the "
            "candidate on the champion's split, or set the alias by hand."
        )
    if num_torn:
        reasons.append(
            f"Not promoted: the champion's record has two different answers for {num_torn} test images."
        )
    return reasons


def make_decision(
    selection: Mapping[str, Any],
    comparison: Mapping[str, Any] | None,
    reasons: Sequence[str],
    *,
    is_promoted: bool,
) -> dict[str, Any]:
    """The decision as `decide_promotion` and `decide_several` give it."""
    return {
        "model": selection["chosen"],
        "selection": {key: value for key, value in selection.items() if key != "chosen"},
        "aliases": ["challenger", "champion"] if is_promoted else ["challenger"],
        "is_promoted": is_promoted,
        "comparison": comparison,
        "reasons": list(reasons),
    }
