"""What the step `register` may be told: what makes one model better than another."""

from typing import Annotated, Literal

from pydantic import Field

from regraft.options.schema import Options


class RegisterOptions(Options):
    """Choice and promotion.

    Attributes:
        selection_metric: On `val`, chooses between probe and fine-tuned model.
        require: What a challenger must be to become champion; `better` promotes on noise about every second time.
        num_resamples: Of the paired bootstrap against the champion.
        confidence: Of its interval.
        seed: Draws the resamples.
    """

    selection_metric: Literal["log_loss", "accuracy"]
    require: Literal["significantly_better", "better"]
    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]
