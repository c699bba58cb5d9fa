import numpy as np
import torch

from regraft.heads.kernel import KernelFeatures
from regraft.training.nystrom import Kernel, nystrom_projection


def test_products_of_the_features_are_the_kernel() -> None:
    points = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    others = np.random.default_rng(1).normal(size=(7, 4)).astype(np.float32)
    kernel = Kernel(num_centres=100, gamma=0.7)
    learnt, judged = kernel.features(points, others, generator=np.random.default_rng(0))
    head = KernelFeatures(4, 30, 0.7)
    head.centres.copy_(torch.from_numpy(points))
    np.testing.assert_allclose(learnt @ learnt.T, head(torch.from_numpy(points)), atol=1e-4)
    np.testing.assert_allclose(judged @ learnt.T, head(torch.from_numpy(others)), atol=1e-4)


def test_fewer_centres_than_rows_make_fewer_features() -> None:
    points = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    learnt, judged = Kernel(num_centres=5, gamma=1.0).features(
        points, points[:3], generator=np.random.default_rng(0)
    )
    assert learnt.shape == (30, 5)
    np.testing.assert_array_equal(judged, learnt[:3])


def test_equal_centres_are_one_direction() -> None:
    assert nystrom_projection(np.ones((4, 4))).shape == (4, 1)
