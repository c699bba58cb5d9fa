"""The data card: what a person should know of the images before training on them.

Knows the manifest and the pixels as arrays: no model, no file. Of test it counts and compares, and shows nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from regraft.evaluation.drift import find_drift
from regraft.images.soft_labels import find_certain, soft_labels

_SPLITS: Final = ("train", "val", "test")
_NUM_SAMPLED: Final = 4000  # images whose pixels are read and whose drift is tested
_IMBALANCE: Final = 10  # times as many images in the largest class as in the smallest


def describe_data(
    manifest: pd.DataFrame, label_names: Sequence[str], pixels: NDArray[np.uint8], *, seed: int
) -> dict[str, Any]:
    """Counts, sizes, modes, balance, groups, copies, and drift between the splits.

    Args:
        manifest: Columns `label_name`, `split`, `group`, `pixel_sha256`, `sha256`, `width`, `height`, `mode`,
            `format`, `file_bytes`; N rows.
        label_names: K names, in the order of the classes.
        pixels: `(N, S, S, 3 or 1)` uint8 in the order of the manifest; may be memory-mapped, a sample is read.
        seed: Of the shuffles that tell drift from chance.

    Returns:
        JSON-serialisable; `notes` says in sentences what to look at. The same for the same input.
    """
    table = manifest.assign(aspect_ratio=manifest["width"] / manifest["height"])
    num_images = _count_by_split(table, "label_name").reindex(list(label_names))
    sampled = np.sort(table["sha256"].argsort(kind="stable").to_numpy()[:_NUM_SAMPLED])
    sample = table.iloc[sampled].assign(**_light(pixels, sampled))
    unit, units = _units(table)
    drift = find_drift(
        sample["split"].tolist(),
        units[sampled].tolist(),
        {
            "label": sample["label_name"].tolist(),
            **{name: sample[name].astype("str").tolist() for name in ("mode", "format")},
            **{name: sample[name].tolist() for name in _NUMBERS},
        },
        seed=seed,
    )
    return {
        "notes": _notes(num_images, drift),
        "num_images": _nested(num_images),
        "imbalance": float(num_images["all"].max() / num_images["all"].min()),
        "sizes": {name: _range(sample[name] if name in _LIGHT else table[name]) for name in _NUMBERS},
        "modes": _nested(_count_by_split(table, "mode")),
        "formats": _nested(_count_by_split(table, "format")),
        "groups": {split: _groups(table[table["split"] == split]) for split in _SPLITS},
        "copies": {split: _copies(table[table["split"] == split]) for split in _SPLITS},
        "labels": {split: _labels(table[table["split"] == split], label_names) for split in _SPLITS},
        "drift": drift,
        "drift_unit": unit,
        "num_sampled": len(sample),
    }


_LIGHT: Final = ("brightness", "contrast")
_NUMBERS: Final = ("width", "height", "aspect_ratio", "file_bytes", *_LIGHT)


def _light(pixels: NDArray[np.uint8], rows: NDArray[Any]) -> dict[str, list[float]]:
    """Mean and standard deviation of each image, as fractions of full scale."""
    moments = [_mean_and_deviation(pixels[row]) for row in rows]
    return {name: [moment[place] for moment in moments] for place, name in enumerate(_LIGHT)}


def _mean_and_deviation(image: NDArray[np.uint8]) -> tuple[float, float]:
    """Of all values of `(S, S, 3 or 1)`, as fractions of full scale; by counting them, which is exact and quicker."""
    counts = np.array(Image.fromarray(image.reshape(len(image), -1)).histogram())
    values = np.arange(256) / 255
    mean = counts @ values / image.size
    return float(mean), float(np.sqrt(counts @ np.square(values - mean) / image.size))


def _units(table: pd.DataFrame) -> tuple[str, NDArray[Any]]:
    """What was split whole: groups where none is torn (an image without one is its own), else images."""
    single = np.array([f"image {row}" for row in range(len(table))], dtype=object)
    grouped = table.dropna(subset=["group"])
    if grouped.empty or grouped.groupby("group")["split"].nunique().max() > 1:
        return "image", single
    return "group", np.where(table["group"].isna(), single, "group " + table["group"].astype("str"))


def _count_by_split(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Images by value and split, and over all splits."""
    counts = pd.crosstab(table[column], table["split"]).reindex(columns=list(_SPLITS), fill_value=0)
    return counts.assign(all=counts.sum(axis=1))


def _nested(counts: pd.DataFrame) -> dict[str, dict[str, int]]:
    return {str(key): {str(k): int(v) for k, v in row.items()} for key, row in counts.iterrows()}


def _range(values: "pd.Series[Any]") -> dict[str, float]:
    return {"smallest": float(values.min()), "median": float(values.median()), "largest": float(values.max())}


def _groups(images: pd.DataFrame) -> dict[str, int]:
    sizes = images["group"].value_counts()
    return {
        "num_groups": len(sizes),
        "largest": int(sizes.max()) if len(sizes) else 0,
        "num_images_without": int(images["group"].isna().sum()),
    }


def _copies(images: pd.DataFrame) -> dict[str, int]:
    """Images that repeat the pixels of another, beyond the first of each."""
    return {"num_images": len(images), "num_repeated": int(images.duplicated("pixel_sha256").sum())}


def _labels(images: pd.DataFrame, label_names: Sequence[str]) -> dict[str, int]:
    """How many a person has put right or confirmed, and how many are uncertain by the source's own probabilities."""
    soft, reviewed = soft_labels(images, label_names), images.get("reviewed_label", pd.Series(dtype="str"))
    is_reviewed = reviewed.notna()
    num_changed = int((reviewed != images["source_label"])[is_reviewed].sum()) if is_reviewed.any() else 0
    return {
        "num_changed": num_changed,
        "num_confirmed": int(is_reviewed.sum()) - num_changed,
        "num_uncertain": 0 if soft is None else int((~find_certain(soft)).sum()),
    }


def _notes(num_images: pd.DataFrame, drift: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to look at, in sentences."""
    notes = []
    totals = num_images["all"]
    if totals.max() >= _IMBALANCE * totals.min():
        notes.append(
            f"The classes are uneven: {totals.idxmax()} has {totals.max():,} images, {totals.idxmin()} "
            f"{totals.min():,}. Accuracy says little of the small ones; look at balanced accuracy."
        )
    notes += [
        f"{row['split']} differs from train in {str(row['property']).replace('_', ' ')} by more than chance "
        f"explains (distance {row['distance']:.2f} of 1, p = {row['p_value']:.3g})."
        for row in drift
        if row["is_clear"]
    ]
    return notes
