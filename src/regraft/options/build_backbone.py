"""What the step `build_backbone` may be told: which network, which weights, and where it is cut."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from regraft.backbones.spec import BackboneSpec
from regraft.backbones.weights import PretrainedWeightsOptions, WeightsOptions
from regraft.backbones.zoo import get_spec
from regraft.options.schema import Options


class BuildBackboneOptions(Options):
    """A pretrained network without its classifier.

    Attributes:
        name: A row of the zoo, or `timm:<name>`.
        weights: Pretrained (by name, null for the default), from a file, or random.
        cut: The last stage kept; null keeps all.
        batch_size: Images a forward pass, frozen.
    """

    name: str
    weights: WeightsOptions
    cut: str | None
    batch_size: Annotated[int, Field(ge=1, le=4096)]

    @property
    def spec(self) -> BackboneSpec:
        """The zoo's row."""
        return get_spec(self.name)

    def kept_stages(self) -> tuple[str, ...]:
        """Stages up to the cut, in depth order."""
        return self.spec.stages_up_to(self.cut)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        spec = get_spec(self.name)
        spec.stages_up_to(self.cut)
        if isinstance(self.weights, PretrainedWeightsOptions) and self.weights.name is not None:
            spec.check_weights_name(self.weights.name)
        return self
