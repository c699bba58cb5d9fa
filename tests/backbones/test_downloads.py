"""Downloads from a server on this machine: kept, refused, and never waited for long."""

import hashlib
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import torch
from random_networks import random_network
from safetensors.torch import save_file

from regraft.backbones.downloads import fetch_checkpoint, find_packaged
from regraft.backbones.spec import PackagedWeights, WeightsError
from regraft.backbones.weights import PretrainedWeights, load_weights
from regraft.backbones.zoo import get_spec


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("TORCH_HOME", str(home))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return home


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def write_checkpoint(folder: Path) -> Path:
    draft = folder / "draft"
    torch.save({"weight": torch.ones(3)}, draft)
    return draft.rename(folder / f"tiny-{hashlib.sha256(draft.read_bytes()).hexdigest()[:8]}.pth")


def test_a_download_is_kept_and_not_repeated(served: tuple[Path, str], torch_home: Path) -> None:
    folder, address = served
    file = write_checkpoint(folder)
    path = fetch_checkpoint(f"{address}/{file.name}")
    assert path == torch_home / "hub" / "checkpoints" / file.name
    assert path.read_bytes() == file.read_bytes()
    file.unlink()
    assert fetch_checkpoint(f"{address}/{file.name}") == path


def test_a_download_with_another_hash_is_not_kept(served: tuple[Path, str], torch_home: Path) -> None:
    folder, address = served
    write_checkpoint(folder).rename(folder / "tiny-00000000.pth")
    with pytest.raises(WeightsError, match=r'not downloaded whole: invalid hash value \(expected "00000000"'):
        fetch_checkpoint(f"{address}/tiny-00000000.pth")
    assert list((torch_home / "hub" / "checkpoints").iterdir()) == []


def test_a_file_the_server_does_not_have_is_named(served: tuple[Path, str], torch_home: Path) -> None:
    url = f"{served[1]}/gone-12345678.pth"
    with pytest.raises(WeightsError, match=f"{url} was not downloaded: File not found") as caught:
        fetch_checkpoint(url)
    assert f"Put that file at {torch_home}/hub/checkpoints/gone-12345678.pth" in str(caught.value)


@pytest.mark.usefixtures("torch_home")
def test_a_silent_server_is_not_waited_for() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/tiny-12345678.pth"
        start = time.monotonic()
        with pytest.raises(WeightsError, match=r"cannot reach .* \(timed out\)"):
            fetch_checkpoint(url, timeout_s=0.2)
        assert time.monotonic() - start < 3
    assert socket.getdefaulttimeout() is None


def test_a_missing_package_is_named() -> None:
    source = get_spec("efficientnet_lite0").sources[0]
    assert isinstance(source, PackagedWeights)
    missing = PackagedWeights(
        **{**vars(source), "package": "no_such_package", "distribution": "no-such-package"}
    )
    with pytest.raises(WeightsError, match="the Python package no-such-package is not installed"):
        find_packaged(missing)
    moved = PackagedWeights(**{**vars(source), "resource": "models/other.pth"})
    with pytest.raises(WeightsError, match=r"models/other\.pth is not there; install efficientnet-lite0"):
        find_packaged(moved)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face Hub, and a hub that cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    return tmp_path / "hub"


IN1K = PretrainedWeights(kind="pretrained", name="in1k")


def test_offline_the_message_names_the_file_of_the_hub(hub_cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        load_weights(get_spec("efficientnet_lite0"), IN1K)
    message = str(caught.value)
    assert time.monotonic() - start < 5  # the hub's own client takes 23 s
    assert "\n" not in message
    assert "timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors (Connection refused)" in message
    assert f"weights: {{kind: file, path: …}}, or copy a cache that holds it to {hub_cache}" in message


def test_the_hubs_offline_switch_is_obeyed(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="not in the cache, and HF_HUB_OFFLINE forbids"):
        load_weights(get_spec("efficientnet_lite0"), IN1K)
    assert not hub_cache.exists()


def test_a_file_in_the_hubs_cache_is_checked_by_the_hash_it_is_stored_under(hub_cache: Path) -> None:
    spec = get_spec("efficientnet_lite0")
    _, state = random_network(spec)
    draft = hub_cache / "draft"
    hub_cache.mkdir()
    save_file(state, draft)
    sha256 = hashlib.sha256(draft.read_bytes()).hexdigest()
    repository = hub_cache / "models--timm--tf_efficientnet_lite0.in1k"
    for folder in ("blobs", "refs", "snapshots/abc"):
        (repository / folder).mkdir(parents=True)
    blob = repository / "blobs" / sha256
    shutil.move(draft, blob)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "model.safetensors").symlink_to(blob)

    loaded, receipt = load_weights(spec, IN1K)
    assert all(torch.equal(loaded[key], tensor) for key, tensor in state.items())
    assert (receipt.name, receipt.sha256) == ("in1k", sha256)
    assert receipt.source == "Hugging Face Hub, timm/tf_efficientnet_lite0.in1k, model.safetensors"

    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match=f"not {sha256} as weights in1k of efficientnet_lite0 should"):
        load_weights(spec, IN1K)
