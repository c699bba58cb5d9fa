"""What each node was made from and what it wrote when it last ran, as files of this checkout.

Knows a folder of JSON; compares nothing with what is there now.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from regraft.adapters.files import written_whole


@dataclass(frozen=True)
class NodeRecord:
    """One node's last run.

    Attributes:
        fingerprint: All its outputs follow from, see `fingerprints.fingerprint`.
        outputs: Content hash of each output that is a file, by dataset.
        is_finished: False once it began to run again: what is there may be of before, or half of now.
    """

    fingerprint: dict[str, Any]
    outputs: dict[str, str | None]
    is_finished: bool = True


class NodeRecords:
    """The records by node name.

    Args:
        folder: Where they are; losing it costs time, nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> NodeRecord | None:
        """A node's record; None if it never ran here, or the record cannot be understood."""
        try:
            return NodeRecord(**json.loads(self._path(name).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, name: str, record: NodeRecord) -> None:
        """Keep a record in place of the last one."""
        with written_whole(self._path(name)) as aside:
            aside.write_text(json.dumps(asdict(record), sort_keys=True, indent=1))

    def mark_begun(self, name: str) -> None:
        """Let a node count as not finished until it is; what it was made from before stays known."""
        if record := self.read(name):
            self.write(name, replace(record, is_finished=False))
        else:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
