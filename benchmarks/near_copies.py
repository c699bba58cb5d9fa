"""Are planted copies found? `python benchmarks/near_copies.py [--images FOLDER] [--copies 200]`.

Writes copies of random images of a folder (default: the demonstration's cells) beside them, lets ingest look for near
copies, and prints how many copies of each kind were found and how many pairs are no copies.
"""

import argparse
import io
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from regraft.images.decoding import FORMATS, UnreadableImageError, decode_rgb
from regraft.images.elpv import find_packaged_files
from regraft.images.index import index_images
from regraft.images.related import relate_images

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder, with all folders below it")
    parser.add_argument("--copies", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = arguments.images or next(iter((find_packaged_files() or {}).values())).parent
    originals = [path for path in sorted(folder.rglob("*")) if is_image(path)]
    with tempfile.TemporaryDirectory() as copies:
        kind_of_copy, source_of_copy = plant(originals, Path(copies), arguments.copies, arguments.seed)
        run(originals, kind_of_copy, source_of_copy)


def run(originals: list[Path], kind_of_copy: dict[str, str], source_of_copy: dict[str, str]) -> None:
    paths = [path.as_posix() for path in originals] + list(kind_of_copy)
    listing = pd.DataFrame({"path": paths, "label": "a", "group": None, "split": None})
    started_s = time.process_time()
    index, _, thumbnails = index_images(
        listing, max_unreadable_fraction=1, exclude=(), on_progress=lambda *_: None
    )
    indexed_s = time.process_time()
    related, found = relate_images(index, thumbnails, near_copies="keep_together", groups="skip")
    searched_s = time.process_time()
    sets = related["copy_group"].fillna("none").where(related["copy_group"].notna(), related["pixel_sha256"])
    set_of = dict(zip(related["path"], sets, strict=True))
    kinds = pd.Series(kind_of_copy)
    is_found = pd.Series({copy: set_of[copy] == set_of[source_of_copy[copy]] for copy in kind_of_copy})
    for kind, of_kind in is_found.groupby(kinds):
        print(f"{kind:18} {of_kind.mean():7.1%} of {len(of_kind)} found")
    pairs = [pair["paths"] for pair in found["near_copy_pairs"]]
    wrong = [
        pair for pair in pairs if source_of_copy.get(pair[0], pair[0]) != source_of_copy.get(pair[1], pair[1])
    ]
    of_originals = [pair for pair in wrong if pair[0] not in kind_of_copy and pair[1] not in kind_of_copy]
    print(
        f"{len(wrong)} of {len(pairs)} pairs ({len(wrong) / max(1, len(pairs)):.2%}) are of different pictures"
    )
    print(
        f"{len(of_originals)} pairs among the {len(originals)} originals; the border was {found['near_copies']}"
    )
    print(
        f"{indexed_s - started_s:.1f} CPU s to index {len(index)} images, {searched_s - indexed_s:.1f} to find "
        f"copies, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB at most"
    )


def plant(
    originals: list[Path], folder: Path, num_copies: int, seed: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Write the copies; the kind and the original of each."""
    generator = np.random.default_rng(seed)
    kind_of_copy: dict[str, str] = {}
    source_of_copy: dict[str, str] = {}
    for kind, change in CHANGES.items():
        chosen = generator.choice(len(originals), min(num_copies, len(originals)), replace=False)
        for number in chosen.tolist():
            copy = folder / f"{kind.replace(' ', '-').replace('%', '')}-{number}.png"
            change(decode_rgb(originals[number]), generator).save(copy, compress_level=1)
            kind_of_copy[copy.as_posix()] = kind
            source_of_copy[copy.as_posix()] = originals[number].as_posix()
    return kind_of_copy, source_of_copy


def is_image(path: Path) -> bool:
    """Whether it can be decoded."""
    if path.suffix.lower().removeprefix(".") not in {*map(str.lower, FORMATS), "jpg", "tif"}:
        return False
    try:
        decode_rgb(path)
    except UnreadableImageError:
        return False
    return True


def encode_as_jpeg(image: Image.Image, _: np.random.Generator) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=50)
    return Image.open(stream).convert("RGB")


def crop_to_95(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """5 % of width and height, from anywhere."""
    width, height = round(image.width * 0.95), round(image.height * 0.95)
    left, top = (
        generator.integers(0, image.width - width + 1),
        generator.integers(0, image.height - height + 1),
    )
    return image.crop((left, top, left + width, top + height))


def crop_all_around(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """5 % from each of the four sides."""
    left, top = round(image.width * 0.05), round(image.height * 0.05)
    return image.crop((left, top, image.width - left, image.height - top))


def brighten(image: Image.Image, gain: float) -> Image.Image:
    return image.point(lambda value: min(255, value * gain))


CHANGES: dict[str, Change] = {
    "JPEG, quality 50": encode_as_jpeg,
    "crop to 95%": crop_to_95,
    "crop 5% all around": crop_all_around,
    "flip left-right": lambda image, _: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "flip top-bottom": lambda image, _: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "half the size": lambda image, _: image.resize((image.width // 2, image.height // 2)),
    "20% darker": lambda image, _: brighten(image, 0.8),
    "20% brighter": lambda image, _: brighten(image, 1.2),
    "all of it": lambda image, generator: encode_as_jpeg(
        crop_to_95(image, generator).transpose(Image.Transpose.FLIP_LEFT_RIGHT), generator
    ),
}

if __name__ == "__main__":
    main()
