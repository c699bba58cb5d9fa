"""Which stages a choice stands for, on every architecture, and what is said of a wrong one."""

from typing import Any

import pytest

from regraft.backbones.architectures import build_on_meta
from regraft.backbones.stage_choice import (
    LastStages,
    candidates,
    check_unfreeze,
    chosen_stages,
    parse_unfreeze,
    said_in_words,
    said_unfreeze,
)
from regraft.backbones.zoo import BACKBONES, get_spec


def stages_of(name: str) -> dict[str, Any]:
    spec = get_spec(name)
    return spec.split(build_on_meta(spec))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_choice_means_stages_on_every_architecture(name: str) -> None:
    stages = stages_of(name)
    names = tuple(stages)
    assert chosen_stages("none", stages) == ()
    assert chosen_stages("all", stages) == names
    assert chosen_stages(LastStages(2), stages) == names[-2:]
    assert chosen_stages((names[-1], names[0]), stages) == (names[0], names[-1]), "in depth order"
    first = chosen_stages("first", stages)
    assert first == names[: len(first)]
    assert 0 < len(first) < len(names) / 2 + 1
    weights = [sum(one.ndim > 1 for one in stages[stage].parameters()) for stage in first]
    assert weights[-1] > 1, "a block has several layers"
    assert all(count <= 1 for count in weights[:-1]), "and nothing before it is one"


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("efficientnet_lite0", ("stem", "blocks.0")),
        ("resnet18", ("stem", "layer1")),
        ("vgg16", ("block1",)),
        ("vit_b_16", ("conv_proj", "encoder.layers.encoder_layer_0")),
    ],
)
def test_the_first_block_comes_with_the_convolution_before_it(name: str, first: tuple[str, ...]) -> None:
    assert chosen_stages("first", stages_of(name)) == first


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("none", "none"),
        ("all", "all"),
        ("auto", "auto"),
        ({"last": 0}, LastStages(0)),
        ("last 0", LastStages(0)),
        ("last 12", LastStages(12)),
        (["layer4", "stem"], ("layer4", "stem")),
        (("stem",), ("stem",)),
        (LastStages(3), LastStages(3)),
    ],
)
def test_what_is_said_is_read_and_said_again(said: Any, meant: Any) -> None:
    assert parse_unfreeze(said) == meant
    assert parse_unfreeze(said_unfreeze(meant)) == meant


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("frist", "Did you mean 'first'?"),
        ("layer4", "a list of stages such as"),
        (None, "got None; known: none, first, all"),
        (3, "got 3; known: none"),
        ([], r"got \[\]; .*last 0 is the head alone"),
        ("last", "unknown choice of stages 'last'"),
        ("last -1", "unknown choice of stages 'last -1'"),
        ([1], r"got \[1\]"),
        (["stem", "layer1", "stem"], "stages named twice: stem"),
        ({"last": -1}, "a number of 0 or more}, got {'last': -1}"),
        ({"last": True}, "a number of 0 or more"),
        ({"last": 1, "first": 2}, "as a mapping it is {last: a number"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(said: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        parse_unfreeze(said)
    assert "\n" not in str(caught.value)


def test_every_unknown_stage_is_named_with_near_names() -> None:
    faults = check_unfreeze(("layer5", "layer4", "stam"), get_spec("resnet18").stages, network="resnet18")
    assert len(faults) == 2
    assert "unknown stage of resnet18 up to its cut 'layer5'" in faults[0]
    assert "Did you mean 'stem'?" in faults[1]
    with pytest.raises(ValueError, match=r"layer5.*stam"):
        chosen_stages(("layer5", "layer4", "stam"), stages_of("resnet18"), network="resnet18")


def test_more_stages_than_there_are_are_refused() -> None:
    assert check_unfreeze(LastStages(5), get_spec("resnet18").stages, network="resnet18") == []
    (fault,) = check_unfreeze(LastStages(6), get_spec("resnet18").stages, network="resnet18")
    assert fault == "last 6 is more than the 5 stages of resnet18 (stem, layer1, layer2, layer3, layer4)"


def test_auto_stands_for_no_stages_by_itself() -> None:
    with pytest.raises(ValueError, match="a search chooses"):
        chosen_stages("auto", stages_of("resnet18"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("efficientnet_lite0", ["none", "last 1", "last 2", "last 3", "last 5", "last 8", "first", "all"]),
        ("resnet18", ["none", "last 1", "last 2", "last 3", "first", "all"]),
        ("vgg16", ["none", "last 1", "last 2", "last 3", "first", "all"]),
    ],
)
def test_candidates_are_few_different_and_the_cheapest_come_first(name: str, words: list[str]) -> None:
    stages = stages_of(name)
    choices = candidates(stages)
    assert [said_in_words(choice) for choice in choices] == words
    assert len({chosen_stages(choice, stages) for choice in choices}) == len(choices)


def test_candidates_that_mean_the_same_are_one() -> None:
    stages = stages_of("resnet18")
    cut = {name: stages[name] for name in ("stem", "layer1")}
    assert [said_in_words(choice) for choice in candidates(cut)] == ["none", "last 1", "first"]
    assert said_in_words(("layer1", "stem")) == "layer1 + stem"
