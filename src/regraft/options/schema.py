"""The base of every schema: frozen, and closed to keys it does not know.

Knows no step.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

BatchSize = Literal["auto"] | Annotated[int, Field(ge=1, le=4096)]


class Options(BaseModel):
    """A part of the configuration; two equal ones are interchangeable."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
