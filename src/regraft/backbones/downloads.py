"""Finds files of weights in the caches of torch and of the Hugging Face Hub, and downloads what is not there.

Knows addresses and files, not what is inside; whoever reads a file checks its hash.
"""

from __future__ import annotations

import http.client
import importlib.util
import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import Request, build_opener

from regraft.backbones.offers import HubFile, sha256_in_name
from regraft.backbones.spec import PackagedWeights, WeightsError

TIMEOUT_S = 10.0
_NETWORK_ERRORS = (OSError, http.client.HTTPException)
_logger = logging.getLogger(__name__)


def find_packaged(source: PackagedWeights) -> Path:
    """The file of weights inside an installed package, which is not imported.

    Raises:
        WeightsError: If the package is not installed, or lacks the file.
    """
    found = importlib.util.find_spec(source.package)
    if found is None or found.origin is None:
        raise WeightsError(
            f"the Python package {source.distribution} is not installed; it carries "
            f"{source.resource}. Install it, or choose other weights"
        )
    path = Path(found.origin).parent / PurePosixPath(source.resource)
    if not path.is_file():
        raise WeightsError(f"{path} is not there; install {source.distribution} anew")
    return path


def fetch_checkpoint(url: str, *, timeout_s: float = TIMEOUT_S) -> Path:
    """A file in torch's cache, `TORCH_HOME/hub/checkpoints/<name>`, downloaded if it is not there.

    Args:
        url: Its name states the first digits of its sha256; a download is kept only if they match.
        timeout_s: How long the server may be silent.

    Raises:
        WeightsError: If it cannot be downloaded; says which file to put where.
    """
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlparse(url).path).name
    if path.is_file():
        return path
    advice = f"Put that file at {path} (TORCH_HOME sets the folder), or use weights: {{kind: file, path: …}}"
    _require_answer(url, advice, timeout_s=timeout_s)
    path.parent.mkdir(parents=True, exist_ok=True)
    _logger.info("downloading %s to %s", url, path)
    try:
        with _socket_timeout(timeout_s):
            torch.hub.download_url_to_file(url, str(path), sha256_in_name(url), progress=sys.stderr.isatty())
    except RuntimeError as error:
        raise WeightsError(f"{url} was not downloaded whole: {error}. {advice}") from error
    except _NETWORK_ERRORS as error:
        raise WeightsError(f"{url} was not downloaded: {_reason(error)}. {advice}") from error
    return path


def fetch_from_hub(file: HubFile, *, timeout_s: float = TIMEOUT_S) -> Path:
    """A file in the cache of the Hugging Face Hub, downloaded if it is not there.

    Raises:
        WeightsError: If it cannot be downloaded; says which file to get, and how to use it.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    cached = huggingface_hub.try_to_load_from_cache(file.repository, file.filename, revision=file.revision)
    if isinstance(cached, str):
        return Path(cached)
    url = huggingface_hub.hf_hub_url(file.repository, file.filename, revision=file.revision)
    advice = (
        "Get that file elsewhere and use weights: {kind: file, path: …}, "
        f"or copy a cache that holds it to {constants.HF_HUB_CACHE} (HF_HOME sets the folder)"
    )
    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{url} is not in the cache, and HF_HUB_OFFLINE forbids to download it. {advice}")
    # The hub's client repeats a failing request for 23 s before it says so.
    _require_answer(url, advice, timeout_s=timeout_s)
    _logger.info("downloading %s to %s", url, constants.HF_HUB_CACHE)
    try:
        return Path(huggingface_hub.hf_hub_download(file.repository, file.filename, revision=file.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise WeightsError(f"{url} was not downloaded: {_reason(error)}. {advice}") from error


def _require_answer(url: str, advice: str, *, timeout_s: float) -> None:
    """Fail fast where there is no network; what the server answers is left to the download."""
    try:
        build_opener().open(Request(url, method="HEAD"), timeout=timeout_s).close()
    except HTTPError:
        return
    except _NETWORK_ERRORS as error:
        raise WeightsError(f"cannot reach {url} ({_reason(error)}). {advice}") from error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torch.hub opens its connections without a timeout: a silent server would hang the run."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(getattr(reason, "strerror", None) or reason or type(reason).__name__).split())
