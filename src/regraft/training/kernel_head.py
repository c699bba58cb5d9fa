"""A kernel head: penalised logistic regression on nearness to images learnt from, solved, its penalty cross-validated.

Knows arrays, labels and weights only; no network is run here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import nn

from regraft.heads.kernel import KernelFeatures
from regraft.training.linear_probe import (
    LinearProbe,
    SolverSettings,
    solve_penalised,
    standardisation,
)
from regraft.training.nystrom import draw_centres, nystrom_projection
from regraft.training.reproducibility import numpy_generator
from regraft.training.standardised_rows import Floats, Ints


def fit_kernel_head(
    modules: nn.Sequential,
    features: NDArray[np.float32],
    labels: Ints,
    *,
    num_classes: int,
    groups: Ints,
    num_images: int,
    settings: SolverSettings,
    weights: Floats | None = None,
    targets: Floats | None = None,
) -> LinearProbe:
    """Fit kernel logistic regression; the penalty is on the norm of the function, not on its weights.

    Args:
        modules: Kernel features with at most `num_images` centres, then a linear layer; filled in place.
        features: `(N, D)` float32.
        labels: `(N,)` int64 in [0, num_classes).
        num_classes: K ≥ 2.
        groups: `(N,)` group numbers; a group is never on both sides of a fold.
        num_images: Centres are of the first so many rows, drawn where fewer are asked for.
        settings: As of a linear probe; the seed draws the centres too.
        weights: `(N,)` float64, mean 1, what each row's loss counts; all 1 if None.
        targets: `(N, K)` class probabilities, rows sum to 1, learnt instead of the labels.

    Returns:
        The solution in the space of the centres: how the penalty was chosen, and whether it converged.

    Raises:
        ValueError: See `fit_linear_probe`.

    Source:
        Nyström features of the centres: Williams & Seeger 2000; exact where all training images are centres.
    """
    kernel, linear = modules
    assert isinstance(kernel, KernelFeatures)
    assert isinstance(linear, nn.Linear)
    generator = numpy_generator(settings.seed, "kernel centres")
    rows = draw_centres(num_images, len(kernel.centres), generator)
    mean, scale = standardisation(features)
    with torch.no_grad():
        kernel.mean.copy_(torch.from_numpy(mean))
        kernel.scale.copy_(torch.from_numpy(scale))
        kernel.centres.copy_((torch.from_numpy(features[rows]) - kernel.mean) / kernel.scale)
        nearness = kernel(torch.from_numpy(features)).numpy().astype(np.float64)
    with threadpool_limits(1):
        projection = nystrom_projection(nearness[rows])
        probe = solve_penalised(
            nearness @ projection,
            labels,
            num_classes=num_classes,
            groups=groups,
            settings=settings,
            weights=weights,
            targets=targets,
        )
        weight = probe.weight @ projection.T
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(probe.bias))
    return probe
