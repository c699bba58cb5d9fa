"""What belongs together through others."""

import networkx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regraft.images.clusters import connect


def test_clusters_are_named_after_their_first_member() -> None:
    clusters = connect(7, np.array([5, 1, 4]), np.array([1, 4, 6]))
    assert clusters.tolist() == [0, 1, 2, 3, 1, 1, 1]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_clusters_are_those_of_networkx(count: int, pairs: list[tuple[int, int]]) -> None:
    inside = [(one % count, other % count) for one, other in pairs]
    graph = networkx.Graph(inside)
    graph.add_nodes_from(range(count))
    first, second = (np.array([pair[side] for pair in inside], np.int64) for side in (0, 1))
    clusters = connect(count, first, second)
    for members in networkx.connected_components(graph):
        assert {int(clusters[member]) for member in members} == {min(members)}
