"""Weights from a package, a file, nowhere: what is loaded, what is refused, and how it is said."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from random_networks import random_network
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.models import ResNet18_Weights

from regraft.backbones.backbone import build_backbone
from regraft.backbones.checkpoints import hash_tensors
from regraft.backbones.downloads import find_packaged
from regraft.backbones.spec import InputContract, PackagedWeights, WeightsError
from regraft.backbones.weights import (
    FileWeights,
    PretrainedWeights,
    RandomWeights,
    WeightsOptions,
    input_contract,
    load_weights,
)
from regraft.backbones.zoo import get_spec

DEFAULT = PretrainedWeights(kind="pretrained")
SMALL = "squeezenet1_1"


def prepare(image: Image.Image, contract: InputContract) -> Tensor:
    """Shorter side resized, centre cropped, normalised: `(1, 3, size, size)`."""
    scale = contract.resize_size / min(image.size)
    interpolation = Image.Resampling[contract.interpolation.upper()]
    resized = image.resize((round(image.width * scale), round(image.height * scale)), interpolation)
    left, top = (resized.width - contract.size) // 2, (resized.height - contract.size) // 2
    crop = resized.crop((left, top, left + contract.size, top + contract.size))
    pixels = torch.from_numpy(np.asarray(crop).copy()).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (contract.mean, contract.std))
    return (pixels - mean) / std


# Lite1 and Lite2 are tried where their packages are installed.
@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_packaged_weights_recognise_a_palace(name: str) -> None:
    spec = get_spec(name)
    source = spec.sources[0]
    assert isinstance(source, PackagedWeights)
    if name != "efficientnet_lite0":
        pytest.importorskip(source.package)
    state, receipt = load_weights(spec, DEFAULT)
    assert (receipt.name, receipt.sha256, receipt.licence) == ("packaged", source.sha256, "Apache-2.0")
    assert receipt.source == f"Python package {source.distribution}, {source.resource}"
    backbone = build_backbone(name, weights=state, cut=None, receipt=receipt)
    image = Image.fromarray(load_sample_image("china.jpg"))
    with torch.inference_mode():
        features = backbone.forward_features(prepare(image, input_contract(spec, DEFAULT)))
        logits = features["conv_head"] @ state["classifier.weight"].T + state["classifier.bias"]
    assert all(pooled.isfinite().all() for pooled in features.values())
    assert ResNet18_Weights.DEFAULT.meta["categories"][int(logits.argmax())] == "palace"


def test_random_weights_are_those_of_their_seed_alone() -> None:
    spec = get_spec(SMALL)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    states, receipts = zip(
        *(load_weights(spec, RandomWeights(kind="random", seed=s)) for s in (1, 1, 2)), strict=True
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert receipts[0] == receipts[1] != receipts[2]
    assert receipts[0].sha256 == hash_tensors(states[0].items())
    assert "classifier.1.weight" in states[0]
    assert receipts[0].source == "torchvision's initialisation of squeezenet1_1, seed 1"
    build_backbone(SMALL, weights=states[0], cut=None)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_weights_is_loaded_by_its_hash(tmp_path: Path, suffix: str, wrapped: bool) -> None:
    spec = get_spec(SMALL)
    _, state = random_network(spec)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    elif wrapped:
        torch.save(
            {"epoch": 3, "state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, path
        )
    else:
        torch.save(state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    loaded, receipt = load_weights(spec, FileWeights(kind="file", path=path, sha256=sha256[:12]))
    assert (receipt.name, receipt.sha256, receipt.source) == (path.name, sha256, f"file {path}")
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())
    wrong = FileWeights(kind="file", path=path, sha256="0" * 12)
    with pytest.raises(WeightsError, match=f"has sha256 {sha256}, not 000000000000"):
        load_weights(spec, wrong)


def test_a_classifier_of_another_size_does_not_matter(tmp_path: Path) -> None:
    spec = get_spec(SMALL)
    _, state = random_network(spec)
    state["classifier.1.weight"] = torch.zeros(10, 512, 1, 1)
    torch.save(state, tmp_path / "ten.pth")
    loaded, _ = load_weights(spec, FileWeights(kind="file", path=tmp_path / "ten.pth"))
    assert loaded["classifier.1.weight"].shape == (10, 512, 1, 1)
    build_backbone(SMALL, weights=loaded, cut=None)


def test_weights_for_another_architecture_name_all_kinds_of_faults_at_once(tmp_path: Path) -> None:
    _, state = random_network(get_spec(SMALL))
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    state["extra.weight"] = state.pop("features.0.bias")
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(WeightsError) as caught:
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=tmp_path / "other.pth"))
    assert str(caught.value) == (
        f"{tmp_path}/other.pth for squeezenet1_1 does not fit the architecture: missing features.0.bias; "
        "unexpected extra.weight; "
        "shaped otherwise features.0.weight (64, 1, 3, 3) instead of (64, 3, 3, 3)"
    )


class _RunsCode:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("this must never be seen",))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"weight": _RunsCode()}, path)
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=path))
    assert "never be seen" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.pth", b"not weights at all", "holds more than tensors, or is no file of weights"),
        ("empty.pth", b"", "cannot be read"),
        ("text.safetensors", b"not weights at all", "cannot be read"),
    ],
)
def test_a_file_that_is_no_weights_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=tmp_path / name))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    _, state = random_network(get_spec(SMALL))
    path = tmp_path / "cut.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=f"{path} cannot be read"):
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=path))


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "lr": torch.tensor(0.1)}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=tmp_path / "odd.pth"))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(WeightsError, match=r"no file of weights at nowhere/x\.pth"):
        load_weights(get_spec(SMALL), FileWeights(kind="file", path=Path("nowhere/x.pth")))


def test_unknown_weights_are_answered_with_those_on_offer() -> None:
    with pytest.raises(
        ValueError, match=r"unknown weights for resnet50 'IMAGENET1K_V3'; known: IMAGENET1K_V1, IMAGENET1K_V2"
    ):
        load_weights(get_spec("resnet50"), PretrainedWeights(kind="pretrained", name="IMAGENET1K_V3"))


def test_a_changed_file_in_the_cache_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # torchvision itself loads whatever lies in its cache under the right name.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    spec = get_spec(SMALL)
    _, state = random_network(spec)
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(WeightsError) as caught:
        load_weights(spec, DEFAULT)
    message = str(caught.value)
    assert f"{path} has sha256 {sha256}, not b8a52dc0" in message
    assert f"weights: {{kind: file, path: {path}, sha256: {sha256[:8]}}}" in message
    loaded, _ = load_weights(spec, FileWeights(kind="file", path=path, sha256=sha256[:8]))
    assert loaded.keys() == state.keys()


@pytest.mark.parametrize("name", ["resnet18", "xception"])
def test_offline_the_message_says_which_file_to_put_where(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # a closed port stands for no network
    monkeypatch.delenv("no_proxy", raising=False)
    file = {"resnet18": "resnet18-f37072fd.pth", "xception": "xception-43020ad28.pth"}[name]
    with pytest.raises(WeightsError) as caught:
        load_weights(get_spec(name), DEFAULT)
    message = str(caught.value)
    assert "\n" not in message
    assert f"/{file} (Connection refused)" in message
    assert f"Put that file at {tmp_path}/hub/checkpoints/{file}" in message


def test_older_names_of_densenet_are_understood(tmp_path: Path) -> None:
    spec = get_spec("densenet121")
    _, state = random_network(spec)
    older = {
        key.replace("norm1.", "norm.1.")
        .replace("norm2.", "norm.2.")
        .replace("conv1.", "conv.1.")
        .replace("conv2.", "conv.2.")
        if "denselayer" in key
        else key: tensor
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert not older.keys() <= state.keys()
    torch.save(older, tmp_path / "densenet.pth")
    loaded, _ = load_weights(spec, FileWeights(kind="file", path=tmp_path / "densenet.pth"))
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())


def test_the_packaged_file_may_be_given_by_its_path() -> None:
    spec = get_spec("efficientnet_lite0")
    source = spec.sources[0]
    assert isinstance(source, PackagedWeights)
    path = find_packaged(source)
    by_path, receipt = load_weights(spec, FileWeights(kind="file", path=path, sha256=source.sha256))
    by_name, _ = load_weights(spec, DEFAULT)
    assert receipt.sha256 == source.sha256
    assert hash_tensors(by_path.items()) == hash_tensors(by_name.items())


def test_the_contract_follows_the_chosen_weights() -> None:
    spec = get_spec("resnet50")
    second = PretrainedWeights(kind="pretrained", name="IMAGENET1K_V2")
    assert input_contract(spec, DEFAULT).resize_size == 256
    assert input_contract(spec, second).resize_size == 232
    assert input_contract(spec, RandomWeights(kind="random", seed=0)) == input_contract(spec, DEFAULT)


def test_options_are_told_apart_by_kind_and_refuse_what_they_do_not_know() -> None:
    adapter: TypeAdapter[WeightsOptions] = TypeAdapter(WeightsOptions)
    assert adapter.validate_python({"kind": "pretrained"}) == DEFAULT
    assert adapter.validate_python({"kind": "random", "seed": 3}) == RandomWeights(kind="random", seed=3)
    faults = [
        {"kind": "hub"},
        {"kind": "random"},
        {"kind": "random", "seed": -1},
        {"kind": "file", "path": "x.pth", "sha256": "abc"},
        {"kind": "pretrained", "tag": "x"},
    ]
    for fault in faults:
        with pytest.raises(ValidationError):
            adapter.validate_python(fault)
