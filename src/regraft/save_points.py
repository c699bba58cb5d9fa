"""Save points: what a long step has done so far, kept so that the next process goes on from there.

Knows neither what is kept nor where. What is read back must be what was written under the same circumstances: whoever
keeps it forgets it when the code, the parameters or the inputs of the step change.
"""

from typing import Protocol


class SavePoints(Protocol):
    """Keeps bytes by name for one piece of work, until that is finished."""

    def is_due(self) -> bool:
        """Whether so much time has passed since the last save point that one should be made."""
        ...

    def read(self, name: str) -> bytes | None:
        """What was written under a name, whole; None if nothing was."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Keep bytes under a name in the place of what was there; a killed process leaves one or the other."""
        ...

    def forget(self, name: str) -> None:
        """Keep nothing under a name any longer; it may have had nothing."""
        ...


class NoSavePoints:
    """Keeps nothing: for work that is done again if it is interrupted."""

    def is_due(self) -> bool:
        """Never."""
        return False

    def read(self, name: str) -> bytes | None:
        """Nothing."""
        return None

    def write(self, name: str, data: bytes) -> None:
        """Forget it."""

    def forget(self, name: str) -> None:
        """Nothing was kept."""


class InMemory:
    """Keeps bytes as long as it lives itself: for work that one process leaves and comes back to."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def is_due(self) -> bool:
        """Never: nothing would outlive a kill."""
        return False

    def read(self, name: str) -> bytes | None:
        """See `SavePoints.read`."""
        return self.kept.get(name)

    def write(self, name: str, data: bytes) -> None:
        """See `SavePoints.write`."""
        self.kept[name] = data

    def forget(self, name: str) -> None:
        """See `SavePoints.forget`."""
        self.kept.pop(name, None)
