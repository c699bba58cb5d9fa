"""Which images count as one when learning from some of them is tried on others.

Knows the columns of a manifest alone.
"""

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
        return group_numbers(manifest[is_train], "copy_group")
    return group_numbers(manifest[is_train])


def group_numbers(manifest: pd.DataFrame, column: str = "group") -> NDArray[np.int64]:
    """A number a group of a column; an image without group, or without such a column, is one of its own."""
    own = pd.Series([f"image {row}" for row in range(len(manifest))], index=manifest.index)
    groups = manifest.get(column, own).astype("object")
    codes, _ = pd.factorize(groups.where(groups.notna(), own))
    return codes.astype(np.int64)
