"""The table of docs/backbones.md is what the zoo says."""

from pathlib import Path

import pytest

from regraft.backbones.backbone import feature_dims_of
from regraft.backbones.spec import WeightsSpec
from regraft.backbones.zoo import BACKBONES

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
PLACES = {"PackagedWeights": "Python package", "TorchvisionWeights": "torchvision", "TimmWeights": "timm"}


def described(weights: WeightsSpec) -> str:
    place = PLACES[type(weights.source).__name__]
    sha256 = f"sha256 {weights.sha256[:8]}" if weights.sha256 else "sha256 by the hub"
    licence = weights.licence.partition(" (torchvision)")[0]
    return f"`{weights.name}`: {place}, {weights.contract.size} px, {sha256}, {licence}"


def row_of(name: str) -> str:
    spec = BACKBONES[name]
    dims = feature_dims_of(spec, "mean")
    stages = f"`{spec.stages[0]}` … `{spec.stages[-1]}`"
    weights = "<br>".join(map(described, spec.weights))
    widths = list(dims.values())
    return f"| `{name}` | {len(widths)} | {stages} | {widths[-1]} | {sum(widths)} | {weights} |"


@pytest.mark.slow
def test_the_table_is_that_of_the_zoo() -> None:
    text = PAGE.read_text("utf-8").partition("## Which there are")[2].partition("\n## ")[0]
    assert [line for line in text.splitlines() if line.startswith("| `")] == [
        row_of(name) for name in BACKBONES
    ]


if __name__ == "__main__":  # the rows, for the page
    print("\n".join(map(row_of, BACKBONES)))
