"""Elpv: the listing of the elpv-dataset (solar cells in electroluminescence), and where its package keeps it.

Knows no folder of this project and no DataFrame. The images are CC BY-NC-SA 4.0 and come with their own
package.
"""

import importlib.util
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from regraft.images.faults import show_first

PACKAGE: Final = "elpv_dataset"
CELLS_PER_MODULE: Final = 60


@dataclass(frozen=True)
class SolarCell:
    """One line of `labels.csv`."""

    path: str
    defect_probability: float
    cell_type: str


def find_packaged_files() -> dict[str, Path] | None:
    """Files of the installed package by their path below its data folder, or None if it is not installed.

    The package is found, not imported: importing it would load the images' decoder and NumPy.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    data = Path(spec.submodule_search_locations[0]) / "data"
    files = [data / "labels.csv", *sorted((data / "images").glob("*.png"))]
    return {file.relative_to(data).as_posix(): file for file in files}


def parse_labels(text: str) -> list[SolarCell]:
    """Parse `labels.csv`, which despite its name separates path, probability and cell type by blanks.

    Raises:
        ValueError: If a line is not of that form; all such lines are named.
    """
    cells, faults = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            path, probability, cell_type = line.split()
            cells.append(SolarCell(path, float(probability), cell_type))
        except ValueError:
            faults.append(f"line {number} ({line[:60]!r})")
    if faults:
        raise ValueError(f"not of the form 'path probability type': {show_first(faults)}")
    return cells


def infer_modules(cell_types: Sequence[str]) -> list[str]:
    """Infer from which solar module each cell was cut out; the data set itself does not say.

    Cells come in the order of their modules, and a module has 60 cells (in one case 72) of one type. So a run
    of one type is cut evenly into as many modules as it has times 60 cells. That gives the 18 monocrystalline
    and 26 polycrystalline modules of the paper. A border may be a few cells off, since single cells were left
    out.

    Args:
        cell_types: Types such as `mono`, in file order.

    Returns:
        Names such as `mono-03`, numbered within their type, in the order given.

    Source:
        Deitsch et al. 2019, arXiv:1807.02894, for the numbers of modules.
    """
    names: list[str] = []
    num_modules: Counter[str] = Counter()
    for cell_type, run in itertools.groupby(cell_types):
        length = len(list(run))
        num_in_run = max(1, round(length / CELLS_PER_MODULE))
        first = num_modules[cell_type] + 1
        names += [f"{cell_type}-{first + i * num_in_run // length:02d}" for i in range(length)]
        num_modules[cell_type] += num_in_run
    return names
