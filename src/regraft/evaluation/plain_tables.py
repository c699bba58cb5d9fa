"""Plain data of any shape as tables of text: what a report shows of settings, and of what a step has found.

Knows mappings, lists and values: no metric, no template.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MAX_ROWS = 40  # of a table; the rest is counted


def tables_of(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Tables of a report of any shape: its plain values, then a table for each list or mapping."""
    plain = {key: value for key, value in report.items() if not isinstance(value, list | tuple | dict)}
    if plain:
        yield {
            "title": "",
            "columns": [],
            "rows": [[_words(k), _text(v)] for k, v in plain.items()],
            "num_more": 0,
        }
    for key, value in report.items():
        if key in plain:
            continue
        columns, rows = _table(value)
        count = f" ({len(rows)})" if isinstance(value, list | tuple) else ""
        yield {
            "title": _words(key) + (count if rows else ": none"),
            "columns": columns,
            "rows": rows[:_MAX_ROWS],
            "num_more": max(0, len(rows) - _MAX_ROWS),
        }


def dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and values as text."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(value)


def _table(value: Sequence[Any] | Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of a list or mapping of anything."""
    items = list(value.items()) if isinstance(value, Mapping) else [(None, item) for item in value]
    if items and all(isinstance(item, Mapping) for _, item in items):
        columns = list(dict.fromkeys(column for _, item in items for column in item))
        names = [] if items[0][0] is None else [""]
        return [*names, *map(_words, columns)], [
            [*([] if key is None else [str(key)]), *(_text(item.get(column, "")) for column in columns)]
            for key, item in items
        ]
    return [], [[*([] if key is None else [str(key)]), _text(item)] for key, item in items]


def _words(key: str) -> str:
    """`num_images` to `Images`, `pixel_sha256` to `Pixel sha256`."""
    return key.removeprefix("num_").replace("_", " ").capitalize()


def _text(value: Any) -> str:
    """A value as a reader expects it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)
