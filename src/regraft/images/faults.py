"""Faults: how this room words a list of things it cannot accept.

Knows no image, table or option: only texts.
"""

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import Final

_NUM_SHOWN: Final = 5


class SourceError(ValueError):
    """A source whose images cannot be listed as its options say."""


class ManifestError(ValueError):
    """Images or labels of which no sound manifest can be made."""


class UnreadableImageError(ValueError):
    """An image that cannot be decoded; `reason` is short and the same on every machine."""

    def __init__(self, reason: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(reason if path is None else f"{os.fspath(path)}: {reason}")
        self.reason = reason


def show_first(items: Sequence[str]) -> str:
    """The first few items on one line, and how many more there are: `a, b, c, d, e and 12 more`."""
    shown = ", ".join(map(_printable, items[:_NUM_SHOWN]))
    num_more = len(items) - _NUM_SHOWN
    return f"{shown} and {num_more} more" if num_more > 0 else shown


def suggest_near(got: str, allowed: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the allowed names that resemble what was got, or nothing."""
    near = difflib.get_close_matches(got, list(allowed), n=3)
    return f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""


def join_faults(faults: Sequence[str]) -> str:
    """One fault as it is; several under each other, so that all are seen at once."""
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} faults:" + "".join(f"\n- {fault}" for fault in faults)


def _printable(text: str) -> str:
    """Line breaks and their like, which a file name may hold, as Python writes them."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
