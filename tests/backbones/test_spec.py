"""Stages by name, sizes, and the messages for what is not there."""

import pytest

from regraft.backbones.spec import unfrozen_stages, unknown_name
from regraft.backbones.zoo import get_spec


def test_unfrozen_stages_are_the_deepest_ones_in_depth_order() -> None:
    spec = get_spec("resnet18")
    assert unfrozen_stages(spec, 2) == ("layer3", "layer4")
    assert unfrozen_stages(spec, 0) == ()
    assert unfrozen_stages(spec, 5) == spec.stages


def test_unfrozen_stages_count_back_from_the_cut() -> None:
    assert unfrozen_stages(get_spec("resnet18"), 2, cut="layer3") == ("layer2", "layer3")


@pytest.mark.parametrize("last", [-1, 6])
def test_more_stages_than_there_are_is_refused(last: int) -> None:
    with pytest.raises(
        ValueError, match=f"resnet18 has 5 stages to unfreeze, got {last}; they are stem, layer1"
    ):
        unfrozen_stages(get_spec("resnet18"), last)


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
