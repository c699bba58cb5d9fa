"""A pretrained network used directly, with its own 1,000 labels: the same face as a `Classifier`.

Knows how it is fed; neither where weights come from nor how it is stored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regraft.backbones.spec import BackboneSpec
from regraft.backbones.weights import WeightsOptions, input_contract, load_weights
from regraft.backbones.whole import build_whole, imagenet_names
from regraft.classifier.classifier import normalize_pixels
from regraft.images.decoding import decode_rgb
from regraft.images.preprocessing import Preprocessing, apply


@dataclass(frozen=True)
class PretrainedClassifier:
    """A whole network as its publisher trained it.

    Attributes:
        network: From normalised images to logits `(B, K)`, in evaluation mode.
        label_names: Its K labels in the order of the logits.
        preprocessing: As its weights were trained.
        device: Where the network is.
    """

    network: nn.Module
    label_names: tuple[str, ...]
    preprocessing: Preprocessing
    device: torch.device

    def prepare(self, image: Path) -> NDArray[np.uint8]:
        """See `Classifier.prepare`."""
        return apply(self.preprocessing, decode_rgb(image))

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """See `Classifier.predict_pixels`."""
        with torch.inference_mode():
            images = normalize_pixels(torch.as_tensor(pixels, device=self.device), self.preprocessing)
            logits = self.network(images).double()
            probabilities: NDArray[np.float64] = torch.softmax(logits, dim=1).cpu().numpy()
        return probabilities


def load_pretrained(
    spec: BackboneSpec, options: WeightsOptions, *, device: torch.device
) -> PretrainedClassifier:
    """A network of the zoo with its own classifier, fed as its weights were trained (resized, centre cropped).

    Raises:
        WeightsError: If the weights cannot be had, or bring no classifier of ImageNet's 1,000 classes.
    """
    weights, _ = load_weights(spec, options)
    contract = input_contract(spec, options)
    preprocessing = Preprocessing(
        size=contract.size,
        resize_size=contract.resize_size,
        fit="crop",
        interpolation=contract.interpolation,
        mean=contract.mean,
        std=contract.std,
    )
    network = build_whole(spec, weights).to(device)
    return PretrainedClassifier(network, imagenet_names(), preprocessing, device)
