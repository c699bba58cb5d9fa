"""The base of every schema: frozen, and closed to keys it does not know.

Knows no step.
"""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A part of the configuration; two equal ones are interchangeable."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
