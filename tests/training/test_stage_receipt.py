"""Hashes before and after, and the error for what moved though frozen."""

import copy
from collections.abc import Callable

import pytest
import torch

from regraft.classifier import Classifier
from regraft.training.stage_receipt import FrozenStageMovedError, stage_digests, stage_receipt


def test_each_kind_of_tensor_has_its_own_hash(make_probe: Callable[..., Classifier]) -> None:
    probe = make_probe()
    before = stage_digests(probe)
    assert list(before) == [*probe.backbone.stages, "head"]
    after = copy.deepcopy(probe)
    after.backbone.stages["stem"].bn1.running_mean += 1
    with torch.no_grad():
        after.head[0].bias += 1
    changed = stage_digests(after)
    assert {
        (stage, kind)
        for stage in before
        for kind in before[stage]
        if before[stage][kind] != changed[stage][kind]
    } == {("stem", "statistics"), ("head", "weights")}


def test_a_row_says_what_was_trained_and_what_moved(make_probe: Callable[..., Classifier]) -> None:
    before = stage_digests(make_probe())
    after = {**before, "head": {**before["head"], "weights": "0" * 64}}
    rows = stage_receipt(before, after, trained=("blocks.2", "head"), adapted=())
    assert [(row["stage"], row["is_trained"], row["has_moved"]) for row in rows] == [
        ("stem", False, False),
        ("blocks.0", False, False),
        ("blocks.1", False, False),
        ("blocks.2", True, False),
        ("head", True, True),
    ]
    assert rows[-1]["weights_before"] == before["head"]["weights"]
    assert rows[-1]["weights_after"] == "0" * 64


def test_all_that_moved_though_frozen_is_named(make_probe: Callable[..., Classifier]) -> None:
    before = stage_digests(make_probe())
    after = {
        **before,
        "stem": {**before["stem"], "weights": "0" * 64},
        "blocks.2": {"weights": "0" * 64, "statistics": "0" * 64},
    }
    with pytest.raises(FrozenStageMovedError, match=r"frozen: weights of stem, statistics of blocks\.2;"):
        stage_receipt(before, after, trained=("blocks.2", "head"), adapted=())
    with pytest.raises(FrozenStageMovedError, match=r"frozen: weights of stem;"):
        stage_receipt(before, after, trained=("blocks.2", "head"), adapted=("blocks.2",))
