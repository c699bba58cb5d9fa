"""Are hidden groups recovered? `python benchmarks/recovered_groups.py [--images FOLDER --truth '(.+)[0-9]']`.

Indexes a folder's images without any column (default: the demonstration's cells, whose truth is the module that
counting gives) and compares each grouping that ingest suggests with the truth: the part of a file's stem that the
pattern's first group matches.
"""

import argparse
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import completeness_score, homogeneity_score
from sklearn.metrics.cluster import pair_confusion_matrix

from regraft.images.elpv import find_packaged_files
from regraft.images.groups import suggest_groups
from regraft.images.index import index_images
from regraft.images.sources import ElpvSource, list_images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder, with all folders below it")
    parser.add_argument("--truth", default="(.+)[0-9]", help="pattern of a file's stem")
    arguments = parser.parse_args()
    if arguments.images:
        paths = sorted(
            path.as_posix() for path in arguments.images.rglob("*") if path.suffix in {".jpg", ".png"}
        )
        listing = pd.DataFrame({"path": paths, "label": "a", "split": None})
        listing["truth"] = [re.fullmatch(arguments.truth, Path(path).stem)[1] for path in paths]
    else:
        folder = next(iter((find_packaged_files() or {}).values())).parent
        listing = list_images(ElpvSource(path=folder)).rename(columns={"group": "truth"})
    index, _, thumbnails = index_images(
        listing.assign(group=None), max_unreadable_fraction=0, exclude=(), on_progress=lambda *_: None
    )
    print(f"{len(index)} images of {index['truth'].nunique()} groups")
    for suggestion in suggest_groups(index, thumbnails):
        support = "supported" if suggestion.is_supported else "not supported"
        print(f"{suggestion.how} ({support}): {compare(index['truth'].tolist(), suggestion.groups)}")


def compare(truth: Sequence[str], groups: Sequence[str | None]) -> str:
    """Figures of one grouping; an image without a group is one of its own."""
    found = [group if group is not None else f"image {number}" for number, group in enumerate(groups)]
    (_, wrong), (missed, right) = pair_confusion_matrix(truth, found)
    borders, true_borders = (
        np.flatnonzero([a != b for a, b in itertools.pairwise(g)]) + 1 for g in (found, list(truth))
    )
    near = sum(int(np.abs(true_borders - border).min(initial=99) <= 3) for border in borders)
    return (
        f"{len(set(found))} groups; pairs: precision {right / max(1, right + wrong):.1%}, recall "
        f"{right / max(1, right + missed):.1%}; homogeneity {homogeneity_score(truth, found):.3f}, completeness "
        f"{completeness_score(truth, found):.3f}; of {len(borders)} borders in the listing {near} lie within 3 "
        f"images of one of the {len(true_borders)} true ones"
    )


if __name__ == "__main__":
    main()
