"""What the step `build_backbone` may be told: which network, which weights, and where it is cut."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from regraft.backbones.spec import BackboneSpec, unknown_name
from regraft.backbones.weights import FileWeights, PretrainedWeights, WeightsOptions
from regraft.backbones.zoo import get_spec
from regraft.images.folders import require_file
from regraft.options.schema import BatchSize, Options

AUTO_CUT = "auto"


class BuildBackboneOptions(Options):
    """A pretrained network without its classifier.

    Attributes:
        name: A row of the zoo, `timm:<name>` or `torchvision:<name>`.
        weights: Pretrained (by name, null for the default), from a file, or random.
        cut: The last stage kept; null keeps all; `auto` leaves it to probes of every depth where the head is put on.
        pooling: What is kept of each stage's activation: each channel's mean over the positions, with its
            deviation, the channels' covariance, or its means over a grid of places.
        views: Views of the images that the head learns from; the same words as `fine_tune.views`.
        batch_size: Images a forward pass, frozen; `auto` goes by their size and the device.
    """

    name: str
    weights: WeightsOptions
    cut: str | None
    pooling: Literal["mean", "mean_and_deviation", "mean_and_covariance", "mean_and_grid"] = "mean"
    views: Literal["identity", "mirror", "flips", "dihedral"] = "identity"
    batch_size: BatchSize

    @property
    def spec(self) -> BackboneSpec:
        """The zoo's row."""
        return get_spec(self.name)

    @property
    def fixed_cut(self) -> str | None:
        """The cut where the backbone is loaded: all stages are kept as long as probes have not chosen."""
        return None if self.cut == AUTO_CUT else self.cut

    def kept_stages(self) -> tuple[str, ...]:
        """Stages up to the cut, in depth order; all where probes are to choose it."""
        return self.spec.stages_up_to(self.fixed_cut)

    def external_paths(self) -> tuple[Path, ...]:
        """Files outside the catalog that the result depends on."""
        return (self.weights.path,) if isinstance(self.weights, FileWeights) else ()

    def require_external(self) -> None:
        """Find out before anything runs whether they are there.

        Raises:
            SourceError: If not.
        """
        if isinstance(self.weights, FileWeights):
            require_file(self.weights.path, "build_backbone.weights.path")

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        spec = get_spec(self.name)
        if self.fixed_cut is not None and self.fixed_cut not in spec.stages:
            raise unknown_name(f"stage of {self.name}", self.fixed_cut, spec.stages, hint="; or auto")
        wanted = self.weights.name if isinstance(self.weights, PretrainedWeights) else None
        if wanted is not None and wanted not in spec.weights_names:
            raise unknown_name(f"weights for {self.name}", wanted, spec.weights_names)
        return self
