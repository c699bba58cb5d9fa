"""One object from pixels to probabilities: preprocessing, backbone, head and label names together.

Knows neither how it was trained nor where it is stored.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone
from regraft.classifier.views import ViewSet, apply_view, num_views
from regraft.heads.layers import LinearLayers, MlpLayers
from regraft.heads.targets import BinaryTarget, MulticlassTarget
from regraft.images.decoding import decode_rgb, decode_rgb_bytes
from regraft.images.preprocessing import Preprocessing, apply

if TYPE_CHECKING:
    from PIL.Image import Image


class Classifier(nn.Module):
    """A backbone with a head, and all that inference needs.

    Attributes:
        backbone: From normalised images to an activation map, cut where the head was put on.
        head: From pooled features `(B, D)` to logits.
        layers: What the head is made of.
        target: What the logits mean.
        preprocessing: From a decoded image to the pixels the backbone was pretrained on.
        views: Views of each image whose probabilities are averaged.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: nn.Sequential,
        layers: LinearLayers | MlpLayers,
        target: BinaryTarget | MulticlassTarget,
        preprocessing: Preprocessing,
        views: ViewSet,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.layers = layers
        self.target = target
        self.preprocessing = preprocessing
        self.views: ViewSet = views
        self.eval()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The K labels, in the order of the probabilities' columns."""
        return tuple(self.target.label_names)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` normalised float images to logits `(B, K)`, or `(B, 1)` for a binary target."""
        logits: Tensor = self.head(self.backbone.pool(self.backbone(images)))
        return logits

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of prepared images.

        Args:
            pixels: `(B, S, S, 3)` uint8 RGB as `preprocessing` makes them.

        Returns:
            `(B, K)` float64, rows sum to 1, order kept; the mean over the classifier's views.
        """
        with torch.inference_mode():
            images = normalize_pixels(torch.as_tensor(pixels, device=self.device), self.preprocessing)
            total = torch.zeros(len(pixels), len(self.label_names), dtype=torch.float64, device=self.device)
            for view in range(num_views(self.views)):
                total += self.target.probabilities(self(apply_view(images, view)))
            return (total / num_views(self.views)).cpu().numpy()

    def predict_images(self, images: Sequence["Image | bytes | Path"]) -> NDArray[np.float64]:
        """Probabilities of images as they come: decoded, prepared and predicted one batch at a time.

        Args:
            images: Opened images (RGB, upright), encoded files as bytes, or paths.

        Returns:
            `(B, K)` float64, rows sum to 1, order kept.

        Raises:
            UnreadableImageError: If one cannot be decoded.
        """
        if not images:
            return np.empty((0, len(self.label_names)))
        return self.predict_pixels(np.stack([apply(self.preprocessing, _decoded(image)) for image in images]))


def normalize_pixels(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Put pixels on the scale of the backbone's pretraining.

    Args:
        pixels: `(B, H, W, 3)` uint8.
        preprocessing: Its mean and std, fractions of full scale.

    Returns:
        `(B, 3, H, W)` float32 in channels-last memory order.
    """
    mean = torch.tensor(preprocessing.mean, dtype=torch.float32, device=pixels.device) * 255
    std = torch.tensor(preprocessing.std, dtype=torch.float32, device=pixels.device) * 255
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


def _decoded(image: "Image | bytes | Path") -> "Image":
    if isinstance(image, bytes):
        return decode_rgb_bytes(image)
    return decode_rgb(image) if isinstance(image, Path) else image
