"""One object from pixels to probabilities: preprocessing, backbone, head and label names together.

Knows neither how it was trained nor where it is stored.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.backbones.fused import fuse
from regraft.classifier.views import ViewSet, ViewsSeen, apply_view, num_views
from regraft.heads.layers import AnyLayers
from regraft.heads.several import AnyTarget, as_it_is
from regraft.images.decoding import decode_rgb, decode_rgb_bytes, upright_rgb
from regraft.images.preprocessing import Preprocessing, apply

if TYPE_CHECKING:
    from PIL.Image import Image


_PREDICT_BATCH = 32  # images in memory at once, however many are asked for


class Classifier(nn.Module):
    """A backbone with a head, and all that inference needs.

    Attributes:
        backbone: From normalised images to an activation map, cut where the head was put on.
        head: From pooled features `(B, D)` to logits.
        stages: Whose pooled features the head takes, side by side in depth order; the last one is the cut.
        layers: What the head is made of.
        target: What the logits mean.
        preprocessing: From a decoded image to the pixels the backbone was pretrained on.
        views: Views of each image whose probabilities are averaged.
        views_seen: With `mean` their features are averaged instead, and the head sees that.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        head: nn.Sequential,
        stages: Sequence[str],
        layers: AnyLayers,
        target: AnyTarget,
        preprocessing: Preprocessing,
        views: ViewSet,
        views_seen: ViewsSeen = "each",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stages = tuple(stages)
        self.layers = layers
        self.target = target
        self.preprocessing = preprocessing
        self.views: ViewSet = views
        self.views_seen: ViewsSeen = views_seen
        self.eval()

    @property
    def label_names(self) -> tuple[str, ...]:
        """The K labels, in the order of the probabilities' columns; of several targets the names of all answers."""
        return self.target.answer_names

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 3, H, W)` normalised float images to logits `(B, K)`, or `(B, 1)` for a binary target."""
        logits: Tensor = self.head(head_features(self.backbone, self.stages, images, after=None, pooled={}))
        return logits

    def for_inference(self) -> Self:
        """A copy that predicts the same but for rounding, faster, and cannot be trained or saved.

        What is measured and what is served both run so.
        """
        faster = copy.copy(self)
        faster._modules = dict(self._modules)
        faster.backbone = fuse(self.backbone, size=self.preprocessing.size)
        return faster

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities of prepared images.

        Args:
            pixels: `(B, S, S, 3)` uint8 RGB as `preprocessing` makes them, or one band of grey.

        Returns:
            `(B, K)` float64, rows sum to 1, order kept; the mean over the classifier's views, or from the mean of
            their features. Of several targets `(B, A)`, what `SeveralTargets.answers` says.
        """
        return predict_together([self], pixels, shared=None)[0]

    def predict_images(self, images: Sequence["Image | bytes | Path"]) -> NDArray[np.float64]:
        """Probabilities of images as they come: decoded, prepared and predicted one batch at a time.

        Args:
            images: Opened images, encoded files as bytes, or paths; all read by one rule.

        Returns:
            `(B, K)` float64, rows sum to 1, order kept.

        Raises:
            UnreadableImageError: If one cannot be decoded.
        """
        batches = [np.empty((0, len(self.label_names)))]
        for start in range(0, len(images), _PREDICT_BATCH):
            prepared = [self.prepare(image) for image in images[start : start + _PREDICT_BATCH]]
            batches.append(self.predict_pixels(np.stack(prepared)))
        return np.concatenate(batches)

    def prepare(self, image: "Image | bytes | Path") -> NDArray[np.uint8]:
        """Pixels `(S, S, 3)` of one image as it comes, for `predict_pixels`.

        Raises:
            UnreadableImageError: If it cannot be decoded.
            ValueError: If it is too long and narrow to be cropped.
        """
        return apply(self.preprocessing, _decoded(image))


def shared_stage(classifiers: Sequence[Classifier]) -> str | None:
    """The last stage up to which classifiers are the same network with the same weights, fed the same way.

    A probe and the model fine-tuned from it share all that stayed frozen. None where nothing is shared.
    """
    first, *others = classifiers
    shared = None
    for stage in first.backbone.stages:
        digest = tensor_digest(first.backbone.stages[stage])
        for other in others:
            if _way_of_feeding(other) != _way_of_feeding(first) or stage not in other.backbone.stages:
                return shared
            if tensor_digest(other.backbone.stages[stage]) != digest:
                return shared
        shared = stage
    return shared


def predict_together(
    classifiers: Sequence[Classifier], pixels: NDArray[np.uint8], *, shared: str | None
) -> list[NDArray[np.float64]]:
    """Probabilities from several classifiers, what they share run once; the same bits as from each alone.

    Args:
        classifiers: On one device.
        pixels: `(B, S, S, 3)` uint8 RGB as their `preprocessing` makes them, or one band of grey.
        shared: As `shared_stage` gives it; None runs each on its own.

    Returns:
        `(B, K)` float64 a classifier, rows sum to 1, order kept; as `Classifier.predict_pixels` gives it.
    """
    if shared is None and len(classifiers) > 1:
        return [predict_together([classifier], pixels, shared=None)[0] for classifier in classifiers]
    first = classifiers[0]
    with torch.inference_mode():
        images = normalize_pixels(torch.as_tensor(pixels, device=first.device), first.preprocessing)
        number = num_views(first.views)
        totals: list[Tensor] = [torch.zeros((), device=first.device)] * len(classifiers)
        for view in range(number):
            activation = apply_view(images, view)
            pooled: dict[str, Tensor] = {}
            if shared is not None:
                wanted = {stage for classifier in classifiers for stage in classifier.stages}
                activation, pooled = first.backbone.pooled_range(activation, None, shared, wanted=wanted)
            for index, classifier in enumerate(classifiers):
                seen = head_features(
                    classifier.backbone, classifier.stages, activation, after=shared, pooled=pooled
                )
                if classifier.views_seen == "each":
                    seen = as_it_is(classifier.target, classifier.target.answers(classifier.head(seen)), view)
                totals[index] = totals[index] + seen
        means = [total / number for total in totals]
        return [
            (mean if classifier.views_seen == "each" else classifier.target.answers(classifier.head(mean)))
            .cpu()
            .numpy()
            for classifier, mean in zip(classifiers, means, strict=True)
        ]


def head_features(
    backbone: Backbone,
    stages: Sequence[str],
    activation: Tensor,
    *,
    after: str | None,
    pooled: Mapping[str, Tensor],
) -> Tensor:
    """What a head on several stages takes, from the activation somewhere on the way.

    Args:
        backbone: Run from there up to its cut.
        stages: Whose pooled features are put side by side, in depth order.
        activation: What the stage `after` gave.
        after: The last stage already run; None where `activation` is the images.
        pooled: `(B, D)` pooled features of stages already run, by stage; that of `after` itself may be missing.

    Returns:
        `(B, D)` float32, D the sum over the stages.
    """
    names = list(backbone.stages)
    following = names[0 if after is None else names.index(after) + 1 :]
    found = dict(pooled)
    if after is not None and after in stages and after not in found:
        found[after] = backbone.pool(activation)
    if following:
        found |= backbone.pooled_range(activation, following[0], None, wanted=stages)[1]
    return torch.cat([found[stage] for stage in stages], dim=1)


def _way_of_feeding(classifier: Classifier) -> tuple[object, ...]:
    """All that decides what a stage of equal weights gives, and what is kept of it."""
    backbone = classifier.backbone
    return backbone.spec, backbone.pooling, classifier.preprocessing, classifier.views


def normalize_pixels(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Put pixels on the scale of the backbone's pretraining.

    Args:
        pixels: `(B, H, W, 3)` uint8, or `(B, H, W, 1)`, which stands for three equal bands.
        preprocessing: Its mean and std, fractions of full scale.

    Returns:
        `(B, 3, H, W)` float32 in channels-last memory order.
    """
    mean = torch.tensor(preprocessing.mean, dtype=torch.float32, device=pixels.device) * 255
    std = torch.tensor(preprocessing.std, dtype=torch.float32, device=pixels.device) * 255
    # A row at a time: for three values at a time PyTorch takes several times as long.
    shape = (*pixels.shape[:3], 3)
    if pixels.shape[3] == 1:
        rows = pixels.float().expand(shape).flatten(2)
    else:
        rows = pixels.flatten(2).float()
    width = pixels.shape[2]
    normalized = rows.sub_(mean.repeat(width)).div_(std.repeat(width))
    return normalized.view(shape).permute(0, 3, 1, 2)


def _decoded(image: "Image | bytes | Path") -> "Image":
    if isinstance(image, bytes):
        return decode_rgb_bytes(image)
    return decode_rgb(image) if isinstance(image, Path) else upright_rgb(image)
