"""Reading: opens each file once, in threads, and keeps what it holds: hashes, size, camera, a thumbnail.

Knows paths, no labels and no table; blocks that were read before a kill are not read again.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from regraft.cores import count_cores
from regraft.images import ways
from regraft.images.capture import read_capture
from regraft.images.decoding import UnreadableImageError, decode, read_image_bytes
from regraft.images.file_names import contradicts_suffix
from regraft.images.thumbnails import SIZE, make_thumbnail
from regraft.images.ways import Way
from regraft.save_points import NoSavePoints, SavePoints

_BLOCK_PATHS: Final = 1024  # a save point
NO_SAVE_POINTS: Final = NoSavePoints()
_WAITING_PER_CORE: Final = 64  # images that are read ahead; a million at once would take gigabytes


class Facts(NamedTuple):
    """What one readable file holds; `ways`: what was decided while it was read; `thumbnail`: its bytes."""

    path: str
    sha256: str
    pixel_sha256: str
    width: int
    height: int
    mode: str
    format: str
    file_bytes: int
    ways: tuple[Way, ...]
    camera: str | None
    taken_at: str | None
    thumbnail: bytes


_RESULTS: Final = TypeAdapter[list[Facts | str]](
    list[Facts | str], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
)


def read_all(
    paths: Sequence[str], on_progress: Callable[[int, int], None], save_points: SavePoints
) -> tuple[list[Facts], np.ndarray, dict[str, str]]:
    """Facts and thumbnails of the readable images, reasons of the others, all in the order of the paths."""
    found: list[Facts] = []
    reasons: dict[str, str] = {}
    thumbnails = np.empty((len(paths), SIZE, SIZE), np.uint8)
    results = _read_in_blocks(paths, save_points)
    for done, (path, result) in enumerate(zip(paths, results, strict=True), start=1):
        if isinstance(result, str):
            reasons[path] = result
        else:
            thumbnails[len(found)] = np.frombuffer(result.thumbnail, np.uint8).reshape(SIZE, SIZE)
            found.append(result._replace(thumbnail=b""))  # 4 kB an image, held once
        on_progress(done, len(paths))
    return found, thumbnails[: len(found)], reasons


def _read_in_blocks(paths: Sequence[str], save_points: SavePoints) -> Iterator[Facts | str]:
    """Results in the order of the paths; blocks that were read before a kill are read back."""
    for start in range(0, len(paths), _BLOCK_PATHS):
        name = f"images-{start}"
        if (saved := save_points.read(name)) is not None:
            yield from _RESULTS.validate_json(saved)
            continue
        block = []
        for result in _read_in_threads(paths[start : start + _BLOCK_PATHS]):
            block.append(result)
            yield result
        save_points.write(name, _RESULTS.dump_json(block))


def _read_in_threads(paths: Sequence[str]) -> Iterator[Facts | str]:
    """Results in the order of the paths, a few read ahead."""
    num_cores = count_cores()
    waiting: deque[Future[Facts | str]] = deque()
    with ThreadPoolExecutor(num_cores) as executor:
        try:
            for path in paths:
                waiting.append(executor.submit(_read_facts, path))
                if len(waiting) >= num_cores * _WAITING_PER_CORE:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:  # Ctrl-C: else the executor reads what is waiting first
            executor.shutdown(cancel_futures=True)
            raise


def _read_facts(path: str) -> Facts | str:
    """What one file holds, or why it cannot be read."""
    try:
        data = read_image_bytes(path)
        decoded = decode(data)
    except UnreadableImageError as error:
        return error.reason
    capture = read_capture(data)
    width, height = decoded.image.size
    pixels = hashlib.sha256(f"{width}x{height}:".encode())  # a 2×3 image is no copy of a 3×2 one
    pixels.update(decoded.image.tobytes())
    taken = decoded.ways
    if suffix := contradicts_suffix(path, decoded.format):
        taken = (Way(ways.WRONG_SUFFIX, f"{suffix} of {decoded.format}"), *taken)
    return Facts(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=pixels.hexdigest(),
        width=width,
        height=height,
        mode=decoded.mode,
        format=decoded.format,
        file_bytes=len(data),
        ways=taken,
        camera=capture.camera,
        taken_at=capture.taken_at,
        thumbnail=make_thumbnail(decoded.image).tobytes(),
    )
