"""What belongs together through others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regraft.images.clusters import connect


def test_clusters_are_named_after_their_first_member() -> None:
    clusters = connect(7, np.array([5, 1, 4]), np.array([1, 4, 6]))
    assert clusters.tolist() == [0, 1, 2, 3, 1, 1, 1]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_a_cluster_is_all_that_can_be_reached(count: int, pairs: list[tuple[int, int]]) -> None:
    inside = [(one % count, other % count) for one, other in pairs]
    first, second = (np.array([pair[side] for pair in inside], np.int64) for side in (0, 1))
    reached = np.eye(count, dtype=bool)
    reached[first, second] = reached[second, first] = True
    for _ in range(count):
        reached = reached @ reached
    assert connect(count, first, second).tolist() == reached.argmax(axis=1).tolist()
