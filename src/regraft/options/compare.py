"""What the pipeline `compare` may be told: which backbones, and how much fine-tuning they are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from regraft.backbones.spec import unknown_name
from regraft.backbones.weights import FileWeights, PretrainedWeights, WeightsOptions
from regraft.backbones.zoo import get_spec
from regraft.images.folders import require_file
from regraft.options.schema import Options

if TYPE_CHECKING:
    from regraft.comparing.candidates import Candidate
    from regraft.evaluation.intervals import Bootstrap


class BackboneChoice(Options):
    """One backbone to compare.

    Attributes:
        name: A row of the zoo, `timm:<name>` or `torchvision:<name>`.
        weights: As `build_backbone.weights`; the first on offer where nothing is said.
        cut: The last stage kept; null keeps all.
    """

    name: str
    weights: WeightsOptions = PretrainedWeights(kind="pretrained")
    cut: str | None = None

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        spec = get_spec(self.name)
        spec.stages_up_to(self.cut)
        wanted = self.weights.name if isinstance(self.weights, PretrainedWeights) else None
        if wanted is not None and wanted not in spec.weights_names:
            raise unknown_name(f"weights for {self.name}", wanted, spec.weights_names)
        return self


def _named(value: Any) -> Any:
    """A name alone is short for a mapping with nothing else in it."""
    return {"name": value} if isinstance(value, str) else value


class CompareOptions(Options):
    """Candidates, evidence, budget.

    Attributes:
        backbones: Names, or mappings with `name`, `weights`, `cut`; null takes all whose weights are on this machine.
        slack: By how much more fine-tuning may lift one network than another, a fraction of accuracy, or with several
            targets of the best probe's joint loss: a candidate whose probe trails by surely more than that is not
            fine-tuned.
        max_fine_tuned: Candidates fine-tuned at most; 0 compares probes alone.
        max_minutes: Of probing and fine-tuning together; no fine-tuning is begun that is not expected to fit.
        selection_metric: On `val`, chooses among all probes and fine-tuned models; several targets go by their joint
            loss, whatever it says.
        num_resamples: Of all intervals and tests.
        confidence: Of all intervals.
        seed: Draws the resamples.
    """

    backbones: (
        Annotated[tuple[Annotated[BackboneChoice, BeforeValidator(_named)], ...], Field(min_length=1)] | None
    )
    slack: Annotated[float, Field(ge=0, le=1)]
    max_fine_tuned: Annotated[int, Field(ge=0)]
    max_minutes: Annotated[float, Field(gt=0)]
    selection_metric: Literal["log_loss", "accuracy"]
    num_resamples: Annotated[int, Field(ge=100, le=100_000)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    seed: Annotated[int, Field(ge=0)]

    def candidates(self) -> "tuple[Candidate, ...]":
        """Those asked for, or all at hand.

        Raises:
            NoCandidatesError: If one is named twice, or there is none.
        """
        from regraft.comparing.candidates import candidates_at_hand, label_candidates

        if self.backbones is None:
            return candidates_at_hand()
        return label_candidates([(one.name, one.weights, one.cut) for one in self.backbones])

    def bootstrap(self) -> "Bootstrap":
        """How to resample."""
        from regraft.evaluation.intervals import Bootstrap

        return Bootstrap(self.num_resamples, self.confidence, self.seed)

    def external_paths(self) -> tuple[Path, ...]:
        """Files outside the catalog that the result depends on."""
        if self.backbones is None:
            from regraft.backbones.at_hand import list_weights_at_hand

            return tuple(one.path for one in list_weights_at_hand())
        return tuple(self._files())

    def require_external(self) -> None:
        """Find out before anything runs whether they are there.

        Raises:
            SourceError: If not.
        """
        for path in self._files():
            require_file(path, "compare.backbones.weights.path")

    def _files(self) -> list[Path]:
        return [one.weights.path for one in self.backbones or () if isinstance(one.weights, FileWeights)]
