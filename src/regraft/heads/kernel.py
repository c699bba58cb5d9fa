"""What a kernel head computes before its linear layer: how near an image is to images learnt from.

Knows tensors alone: neither labels nor how the layer behind it is fitted.
"""

import torch
from torch import Tensor, nn


class KernelFeatures(nn.Module):
    """Radial basis functions of standardised features around centres.

    Nothing of it is trained: fine-tuning moves what is put before and behind it.

    Args:
        feature_dim: D.
        num_centres: M.
        gamma: How fast nearness falls: `exp(-gamma · mean squared difference)` of standardised features.

    Source:
        Rahimi & Recht 2007 call it the Gaussian kernel; as `rbf_kernel` of scikit-learn with gamma / D.
    """

    mean: Tensor
    scale: Tensor
    centres: Tensor

    def __init__(self, feature_dim: int, num_centres: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("mean", torch.zeros(feature_dim))
        self.register_buffer("scale", torch.ones(feature_dim))
        self.register_buffer("centres", torch.zeros(num_centres, feature_dim))

    def forward(self, features: Tensor) -> Tensor:
        """`(B, D)` raw features to `(B, M)` in (0, 1]; 1 is at the centre."""
        points = (features - self.mean) / self.scale
        squares = points.square().mean(dim=1)[:, None] + self.centres.square().mean(dim=1)
        products = points @ self.centres.T / self.centres.shape[1]
        return torch.exp(-self.gamma * (squares - 2 * products).clamp(min=0))
