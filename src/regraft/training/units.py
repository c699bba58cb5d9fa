"""Which images count as one when learning from some of them is tried on others.

Knows the columns of a manifest alone.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def units_of_training(manifest: pd.DataFrame) -> NDArray[np.int64]:
    """A number a training image, by what cross-validation must keep together to be like the split of the manifest.

    Whole groups where they are held out. Where most images of `val` and `test` are of groups that are learnt from, the
    question is another, and a penalty that suits new groups would be too strong: sets of near copies then.
    """
    is_train = manifest["split"] == "train"
    groups = manifest["group"]
    is_known = groups[~is_train].isin(groups[is_train].dropna())
    if len(is_known) and is_known.mean() > 0.5:
        return units_of(manifest[is_train], "copy_group")
    return units_of(manifest[is_train])


def units_of(manifest: pd.DataFrame, column: str = "group") -> NDArray[np.int64]:
    """A number a group of a column; an image without group, or without such a column, is one of its own."""
    return group_numbers(list(manifest[column]) if column in manifest else [None] * len(manifest))


def group_numbers(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """`(N,)`: the number of each image's group, from 0 in the order in which they occur; an image whose group is None
    is one of its own."""
    codes, _ = pd.factorize(np.array(groups, dtype=object))
    alone = np.flatnonzero(codes < 0)
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(len(alone))
    return pd.factorize(codes)[0].astype(np.int64)
