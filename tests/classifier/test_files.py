import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.backbones.pooling import Pooling
from regraft.classifier import (
    Classifier,
    Head,
    assemble,
    classifier_bytes,
    load_backbone,
    load_classifier,
    load_head,
    save_backbone,
    save_classifier,
    save_head,
)
from regraft.heads.layers import MlpLayers
from regraft.heads.targets import target_for
from regraft.images.preprocessing import Preprocessing

pytestmark = pytest.mark.usefixtures("one_thread")


class Touches:
    """Unpickling it makes a file: what a hostile model would do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def rewrite_header(path: Path, **changes: object) -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["regraft"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"regraft": json.dumps(header | changes)})


def test_what_a_head_sees_of_views_comes_back(make_probe: Callable[..., Classifier], path: Path) -> None:
    probe = make_probe(views="flips")
    probe.views_seen = "mean"
    save_classifier(probe, path)
    assert load_classifier(path).views_seen == "mean"
    head = Head(probe.head, probe.layers, 40, probe.target, views_seen="mean")
    save_head(head, path)
    assert load_head(path).views_seen == "mean"


@pytest.mark.parametrize("views", ["identity", "dihedral"])
@pytest.mark.parametrize("label_names", [("functional", "defective"), ("disc", "square", "cross")])
def test_loaded_classifier_predicts_the_same_bits(
    make_probe: Callable[..., Classifier],
    draw_shapes: Callable,
    path: Path,
    label_names: tuple[str, ...],
    views: str,
) -> None:
    classifier = make_probe(label_names, views=views)
    save_classifier(classifier, path)
    loaded = load_classifier(path)
    pixels, _ = draw_shapes(6)
    assert np.array_equal(loaded.predict_pixels(pixels), classifier.predict_pixels(pixels))
    assert loaded.label_names == label_names
    assert loaded.views == views
    assert loaded.preprocessing == classifier.preprocessing
    assert loaded.backbone.receipt == classifier.backbone.receipt
    assert loaded.backbone.cut == classifier.backbone.cut == "blocks.2"
    assert not any(module.training for module in loaded.modules())


def test_equal_classifiers_give_equal_bytes(make_probe: Callable[..., Classifier], path: Path) -> None:
    first = classifier_bytes(make_probe())
    assert classifier_bytes(make_probe()) == first
    path.write_bytes(first)
    assert classifier_bytes(load_classifier(path)) == first
    assert classifier_bytes(make_probe(seed=1)) != first


def test_bytes_are_the_same_in_another_process(make_probe: Callable[..., Classifier], path: Path) -> None:
    save_classifier(make_probe(), path)
    script = (
        "import sys; from pathlib import Path; from regraft.classifier import load_classifier, classifier_bytes; "
        "sys.stdout.buffer.write(classifier_bytes(load_classifier(Path(sys.argv[1]))))"
    )
    again = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True).stdout
    assert again == path.read_bytes()


def test_weights_of_any_memory_order_give_equal_bytes(make_probe: Callable[..., Classifier]) -> None:
    classifier = make_probe()
    before = classifier_bytes(classifier)
    assert classifier_bytes(classifier.to(memory_format=torch.channels_last)) == before


def test_backbone_comes_back_whole_and_frozen(make_backbone: Callable[..., Backbone], path: Path) -> None:
    backbone = make_backbone()
    save_backbone(backbone, path)
    loaded = load_backbone(path)
    assert tensor_digest(loaded) == tensor_digest(backbone)
    assert (loaded.spec, loaded.cut, loaded.receipt) == (backbone.spec, backbone.cut, backbone.receipt)
    assert loaded.pooling == "mean"
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("pooling", ["mean_and_deviation", "mean_and_covariance"])
def test_the_pooling_comes_back(make_backbone: Callable[..., Backbone], path: Path, pooling: Pooling) -> None:
    backbone = make_backbone(pooling=pooling)
    save_backbone(backbone, path)
    loaded = load_backbone(path)
    assert (loaded.pooling, loaded.feature_dims) == (pooling, backbone.feature_dims)


def test_mlp_head_comes_back_whole(path: Path) -> None:
    layers = MlpLayers(kind="mlp", hidden_sizes=(5, 4), dropout=0.5)
    head = Head(layers.build(7, 1).eval(), layers, 7, target_for("label", ("a", "b")))
    save_head(head, path)
    loaded = load_head(path)
    features = torch.randn(3, 7)
    assert torch.equal(loaded.modules(features), head.modules(features))
    assert (loaded.layers, loaded.feature_dim, loaded.target) == (layers, 7, head.target)


def test_loading_leaves_the_global_generator_alone(make_probe: Callable[..., Classifier], path: Path) -> None:
    save_classifier(make_probe(), path)
    before = torch.get_rng_state()
    load_classifier(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_changing_what_was_loaded_leaves_the_file_alone(
    make_probe: Callable[..., Classifier], path: Path
) -> None:
    save_classifier(make_probe(), path)
    before = path.read_bytes()
    with torch.no_grad():
        for parameter in load_classifier(path).parameters():
            parameter.zero_()
    assert path.read_bytes() == before


@pytest.mark.parametrize("write", ["pickle", "torch"])
def test_pickle_is_refused_and_never_run(path: Path, write: str) -> None:
    trap = path.with_name("was-run")
    if write == "pickle":
        path.write_bytes(pickle.dumps(Touches(trap)))
    else:
        torch.save({"weights": Touches(trap)}, path)
    for load in (load_classifier, load_head, load_backbone):
        with pytest.raises(ValueError, match=r"model.safetensors is not a safetensors file"):
            load(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Touches(trap))).close()
    assert trap.exists(), "the trap works"


def test_foreign_safetensors_is_refused(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"holds 'no regraft model', not a classifier"):
        load_classifier(path)


def test_another_part_is_refused_by_its_name(make_backbone: Callable[..., Backbone], path: Path) -> None:
    save_backbone(make_backbone(), path)
    with pytest.raises(ValueError, match=r"holds 'backbone', not a classifier"):
        load_classifier(path)
    with pytest.raises(ValueError, match=r"holds 'backbone', not a head"):
        load_head(path)


def test_newer_format_asks_for_an_upgrade(make_probe: Callable[..., Classifier], path: Path) -> None:
    save_classifier(make_probe(), path)
    rewrite_header(path, format=2)
    with pytest.raises(ValueError, match="has format 2; this version reads up to 1: upgrade regraft"):
        load_classifier(path)


def test_cut_off_file_is_refused(make_probe: Callable[..., Classifier], path: Path) -> None:
    save_classifier(make_probe(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_classifier(path)


def test_missing_file_is_named(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model.safetensors"):
        load_classifier(path)


def test_head_of_another_width_is_refused(
    make_backbone: Callable[..., Backbone], make_head: Callable[..., Head], preprocessing: Preprocessing
) -> None:
    narrow, wide = make_backbone(cut="blocks.0"), make_backbone(cut="blocks.2")
    with pytest.raises(
        ValueError,
        match=r"fitted on 16 features; efficientnet_lite0 cut at blocks.2 gives 40: run train_head",
    ):
        assemble(wide, make_head(narrow), preprocessing, views="identity")
