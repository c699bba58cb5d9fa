"""Clusters: which things belong together, directly or through others.

Knows numbers only.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def connect(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Number the clusters that pairs make of `count` things.

    Args:
        count: How many things there are.
        first: `(P,)` ints in [0, count).
        second: `(P,)` likewise.

    Returns:
        `(count,)` int64: the number of the cluster of each thing, that of its first member; a thing without a
        pair is a cluster of its own.
    """
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    _, cluster = connected_components(graph, directed=False)
    _, first_member = np.unique(cluster, return_index=True)
    named: np.ndarray = first_member[cluster].astype(np.int64)
    return named
