"""What needs more memory than any machine has is refused before it is built or run, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from regraft.backbones.backbone import build_backbone
from regraft.backbones.memory import free_bytes, require_room_for_pass
from regraft.backbones.weights import RandomWeights, load_weights
from regraft.backbones.zoo import get_spec
from regraft.images.preprocessing import Preprocessing
from regraft.training.features import extract_features
from regraft.training.reproducibility import Compute

CPU = torch.device("cpu")


def test_a_network_too_large_for_this_machine_is_refused_before_it_is_built() -> None:
    wide = replace(get_spec("mobilenet_v2"), arguments=(("width_mult", 2000.0),))
    with pytest.raises(
        ValueError, match=r"mobilenet_v2 needs \d\d,\d{3}\.\d GB of memory for its weights, and"
    ):
        load_weights(wide, RandomWeights(kind="random", seed=0))


@pytest.mark.parametrize(("cut", "channels"), [("block1", 64), ("block5", 64)])
def test_a_pass_is_measured_by_its_largest_layer(cut: str, channels: int) -> None:
    # VGG's second convolution: 64 channels of full size go in, 64 come out.
    bytes_an_image = 2 * channels * 64 * 64 * 4
    batch_size = 2 * free_bytes(CPU) // bytes_an_image
    with pytest.raises(
        ValueError, match=r"vgg16 needs .* images of 64×64 px.*Take at most \d+ images"
    ) as caught:
        require_room_for_pass(
            get_spec("vgg16"), cut=cut, size=64, batch_size=batch_size, dtype=torch.float32, device=CPU
        )
    needed = float(str(caught.value).split(" needs ")[1].split(" GB")[0].replace(",", ""))
    assert needed == pytest.approx(batch_size * bytes_an_image / 1e9, abs=0.06)
    require_room_for_pass(get_spec("vgg16"), cut=cut, size=64, batch_size=1, dtype=torch.float32, device=CPU)


def test_features_of_batches_that_cannot_fit_are_refused_before_the_first() -> None:
    spec = get_spec("squeezenet1_1")
    weights, _ = load_weights(spec, RandomWeights(kind="random", seed=0))
    backbone = build_backbone(spec.name, weights=weights, cut=None)
    pixels = np.broadcast_to(np.zeros(3, np.uint8), (10**9, 224, 224, 3))  # takes three bytes
    preprocessing = Preprocessing(
        size=224, resize_size=224, fit="stretch", interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    compute = Compute(device=CPU, fast_dtype=torch.float32, num_streams=1, deterministic=True)
    with pytest.raises(
        ValueError, match=r"squeezenet1_1 needs .* for a pass of 1000000000 images of 224×224 px"
    ):
        extract_features(backbone, pixels, preprocessing, batch_size=10**9, compute=compute).compute(0, 1)
