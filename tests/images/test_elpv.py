"""The demonstration data as its package really is, against the counts of its paper."""

import itertools
from collections import Counter

import pytest

from regraft.images import elpv


@pytest.fixture(scope="module")
def cells() -> list[elpv.SolarCell]:
    files = elpv.find_packaged_files()
    assert files is not None
    return elpv.parse_labels(files["labels.csv"].read_text())


def test_the_package_brings_its_listing_and_every_listed_image(cells: list[elpv.SolarCell]) -> None:
    files = elpv.find_packaged_files()
    assert files is not None
    assert set(files) == {"labels.csv", *(cell.path for cell in cells)}
    assert all(path.is_file() for path in files.values())


def test_counts_are_the_papers(cells: list[elpv.SolarCell]) -> None:
    assert len(cells) == 2624
    assert Counter(cell.cell_type for cell in cells) == {"mono": 1074, "poly": 1550}
    assert sum(cell.defect_probability >= 0.5 for cell in cells) == 821
    assert sorted(Counter(cell.defect_probability for cell in cells).values()) == [106, 295, 715, 1508]


def test_the_inferred_modules_are_the_papers_18_and_26(cells: list[elpv.SolarCell]) -> None:
    modules = elpv.infer_modules([cell.cell_type for cell in cells])
    sizes = Counter(modules)
    assert len(sizes) == 44
    assert sum(module.startswith("mono-") for module in sizes) == 18
    assert sum(module.startswith("poly-") for module in sizes) == 26
    assert {min(sizes.values()), max(sizes.values())} == {48, 72}
    assert all(module.startswith(cell.cell_type) for module, cell in zip(modules, cells, strict=True))
    assert len([1 for left, right in itertools.pairwise(modules) if left != right]) == 43


def test_runs_are_cut_evenly_and_numbered_within_their_type() -> None:
    modules = elpv.infer_modules(["mono"] * 60 + ["poly"] * 118 + ["mono"] * 72)
    assert Counter(modules) == {"mono-01": 60, "poly-01": 59, "poly-02": 59, "mono-02": 72}
    assert modules[60:119] == ["poly-01"] * 59
    assert elpv.infer_modules(["mono"]) == ["mono-01"]


def test_lines_of_another_form_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"line 2 \('b.png high mono'\), line 3 \('c.png'\)"):
        elpv.parse_labels("a.png 1.0 mono\nb.png high mono\nc.png\n")
