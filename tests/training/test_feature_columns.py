"""Features of some stages, images and views, copied out as they are asked for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regraft.training.feature_columns import rows_of_each_view, rows_of_mean

DIMS = {"early": 2, "middle": 3, "late": 4}
COLUMNS = {"early": [0, 1], "middle": [2, 3, 4], "late": [5, 6, 7, 8]}
VIEWS = list(np.random.default_rng(0).standard_normal((3, 400, 9), np.float32))


@given(
    st.sampled_from([["late"], ["early", "middle"], ["early", "late"], ["early", "middle", "late"]]),
    st.lists(st.integers(0, 399), min_size=1, max_size=300),
    st.integers(1, 3),
    st.data(),
)
def test_rows_of_views_are_those_of_all_side_by_side(
    stages: list[str], numbers: list[int], num_views: int, data: st.DataObject
) -> None:
    rows, views = np.array(numbers), VIEWS[:num_views]
    columns = [column for stage in stages for column in COLUMNS[stage]]
    each = rows_of_each_view(views, rows, DIMS, stages)
    expected = np.concatenate([view[rows][:, columns] for view in views])
    assert each.shape == expected.shape
    np.testing.assert_array_equal(each.whole(), expected)
    wanted = np.array(data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1)))
    np.testing.assert_array_equal(each[wanted], expected[wanted])

    mean = rows_of_mean(views, rows, DIMS, stages)
    # 1e-6: float32, summed one after the other
    of_all = np.mean([view[rows][:, columns] for view in views], axis=0, dtype=np.float64)
    np.testing.assert_allclose(mean.whole(), of_all, rtol=0, atol=1e-6)
    assert mean.shape == of_all.shape


def test_what_is_taken_is_a_copy() -> None:
    for taken in (
        rows_of_each_view(VIEWS[:1], np.arange(4), DIMS, ["late"]),
        rows_of_mean(VIEWS[:1], np.arange(4), DIMS, ["late"]),
    ):
        before = VIEWS[0].copy()
        taken[np.arange(4)][:] = 7
        np.testing.assert_array_equal(VIEWS[0], before)
