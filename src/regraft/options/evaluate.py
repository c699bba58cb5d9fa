"""What the step `evaluate` may be told: how certain the intervals are to be."""

from typing import Annotated

from pydantic import Field

from regraft.options.schema import BatchSize, Options


class EvaluateOptions(Options):
    """Intervals.

    Attributes:
        num_resamples: Bootstrap resamples.
        confidence: Of every interval.
        batch_size: Images a forward pass; `auto` goes by their size and the device.
        seed: Draws the resamples.
    """

    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    batch_size: BatchSize
    seed: Annotated[int, Field(ge=0)]
