"""A pretrained network whole, with the classifier that came with its weights, and the names of its classes.

Knows nothing of images on disk or heads of our own.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from regraft.backbones.networks import build_network
from regraft.backbones.spec import BackboneSpec, WeightsError

_NUM_CLASSES = 1000


def build_whole(spec: BackboneSpec, weights: Mapping[str, Tensor]) -> nn.Module:
    """The original network with its classifier, on the CPU in evaluation mode: `(B, 3, H, W)` to `(B, 1000)` logits.

    Args:
        spec: The row of the zoo.
        weights: As `load_weights` gives them.

    Raises:
        WeightsError: If the weights bring no classifier of ImageNet's 1,000 classes.
    """
    network = build_network(spec, weights).requires_grad_(False).eval()
    classifier = network.get_submodule(spec.classifier[0])
    tensors = [*classifier.parameters(), *classifier.buffers()]
    if not tensors or any(tensor.is_meta for tensor in tensors) or tensors[-1].shape[0] != _NUM_CLASSES:
        raise WeightsError(
            f"the weights of {spec.name} bring no classifier of ImageNet's {_NUM_CLASSES} classes: they can be trained "
            "on, but not used directly. Choose others, or train a head"
        )
    return network


def imagenet_names() -> tuple[str, ...]:
    """English names of ImageNet's 1,000 classes in the order of every network here that was trained on them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
