import numpy as np
import pandas as pd
import pytest

from regraft.training.learnt import given_weights, learnt_probabilities, loss_targets


def test_probabilities_that_are_not_there_are_told() -> None:
    images = pd.DataFrame({"soft_a": [0.25, 1], "soft_b": [0.75, 0]})
    given = learnt_probabilities(images, "kind", ("a", "b"), "probabilities")
    np.testing.assert_allclose(given, [[0.25, 0.75], [1, 0]])
    for learn_from in ("probabilities", "both"):
        with pytest.raises(ValueError, match=r"is '\w+', but .* ingest\.source\.probability_columns"):
            learnt_probabilities(images, "kind", ("a", "c"), learn_from)


def test_labels_need_no_probabilities_and_both_lie_halfway() -> None:
    images = pd.DataFrame({"soft_a": [0.25, 1], "soft_b": [0.75, 0], "kind": [1, 1]})
    assert learnt_probabilities(images, "kind", ("a", "c"), "labels") is None
    halfway = learnt_probabilities(images, "kind", ("a", "b"), "both")
    np.testing.assert_allclose(halfway, [[0.125, 0.875], [0.5, 0.5]])


def test_weights_have_mean_1_and_are_1_where_the_source_says_nothing() -> None:
    assert given_weights(pd.DataFrame({"weight": [1.0, 3.0]})).tolist() == [0.5, 1.5]
    assert given_weights(pd.DataFrame({"other": [1.0, 3.0]})).tolist() == [1, 1]
    with pytest.raises(ValueError, match="weight 0"):
        given_weights(pd.DataFrame({"weight": [0.0, 0.0]}))


def test_a_loss_takes_one_probability_for_two_classes() -> None:
    assert loss_targets(np.array([[0.25, 0.75]])).tolist() == [0.75]
    assert loss_targets(np.array([[0.25, 0.5, 0.25]])).tolist() == [[0.25, 0.5, 0.25]]
    assert loss_targets(np.array([[0.25, 0.75]])).dtype == np.float32
