"""Stages by name, sizes, and the messages for what is not there."""

import pytest

from regraft.backbones.spec import unknown_name
from regraft.backbones.zoo import get_spec


def test_unknown_stage_is_answered_with_the_stages_there_are() -> None:
    message = (
        "unknown stage of resnet18 'layer5'; known: stem, layer1, layer2, layer3, layer4. "
        "Did you mean 'layer4' or 'layer3' or 'layer2'?"
    )
    with pytest.raises(ValueError, match="unknown stage") as caught:
        get_spec("resnet18").stages_up_to("layer5")
    assert str(caught.value) == message


def test_images_of_a_size_the_network_cannot_take_are_refused() -> None:
    get_spec("vit_b_16").check_size(224, 224)
    with pytest.raises(ValueError, match="vit_b_16 takes images of 224×224 px only, got 224×256"):
        get_spec("vit_b_16").check_size(224, 256)
    with pytest.raises(ValueError, match="inception_v3 takes images of 75×75 px at least, got 299×64"):
        get_spec("inception_v3").check_size(299, 64)


def test_a_long_list_of_known_names_is_cut_short() -> None:
    message = str(unknown_name("thing", "a99x", [f"a{number}" for number in range(100)]))
    assert "a49, … (100 in all)" in message
    assert "Did you mean 'a99'" in message
