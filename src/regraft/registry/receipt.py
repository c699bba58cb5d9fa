"""The receipt of a registered model: all that its result followed from, and hashes of that result.

Knows plain values: no registry, no git, no machine; what is true of them is gathered elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from regraft.images.target_columns import PREFIX

IMAGE_COLUMNS = ("path", "sha256", "label", "group", "split")


class ReceiptError(ValueError):
    """A file that is no receipt, or one of another format than is known here."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Part):
    """The code that ran.

    Attributes:
        commit: Of git, where the project is under git.
        changed: Files and folders that differed from the commit, new ones too, but for data.
        diff_sha256: Of `git diff HEAD`, where something differed.
        files: sha256 of each file of the package and of the catalog.
    """

    commit: str | None
    changed: tuple[str, ...]
    diff_sha256: str | None
    files: dict[str, str]


class Weights(_Part):
    """The pretrained weights: see `backbones.weights.WeightsReceipt`."""

    name: str
    source: str
    sha256: str
    licence: str


class Result(_Part):
    """What came out.

    Attributes:
        model: `probe` or `fine_tuned`.
        classifier_sha256: Of the registered model's file.
        predictions_sha256: Of its predictions on val and test, see `hash_table`.
        metrics: Its numbers on val and test by slash-separated names.
    """

    model: str
    classifier_sha256: str
    predictions_sha256: str
    metrics: dict[str, float]


class Receipt(_Part):
    """What a model was made of.

    Attributes:
        format: Of this receipt.
        code: What ran.
        lock_sha256: Of `requirements.lock`.
        parameters: All of them, resolved, as they ran.
        seeds: Those of the parameters that are seeds, by dotted names.
        data_sha256: Over content, label and group of every image.
        num_images: Readable ones.
        external: Content hash of each file or folder that parameters point to, as they name it; None where it
            holds the project itself.
        weights: What the backbone began with.
        machine: Hardware, operating system, Python, device and precision of the process that registered.
        versions: Of every installed package; those that compute come first.
        files: sha256 of every artefact on the way to the model by its path, in the order of making.
        unverified: Nodes of which nothing shows that this code and these parameters made what lay on disk.
        result: What came out.
    """

    format: Literal[1] = 1
    code: Code
    lock_sha256: str | None
    parameters: dict[str, Any]
    seeds: dict[str, int]
    data_sha256: str
    num_images: int
    external: dict[str, str | None]
    weights: Weights
    machine: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, str]
    unverified: tuple[str, ...]
    result: Result

    def to_json(self) -> str:
        """As text, keys in the order above."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """From text.

        Raises:
            ReceiptError: If it is none.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise ReceiptError(
                f"not a receipt that this version of regraft reads (format 1): {'; '.join(faults)}"
            ) from error


def list_images(manifest: pd.DataFrame) -> pd.DataFrame:
    """A row an image, `IMAGE_COLUMNS` and the columns of several targets, text or missing: which images a model was
    made of."""
    targets = [column for column in manifest.columns if column.startswith(PREFIX)]
    images = manifest.assign(label=manifest["label_name"])[[*IMAGE_COLUMNS, *targets]]
    return images.astype("str").reset_index(drop=True)


def find_seeds(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Every parameter called `seed`, by its dotted name."""
    return {name: value for name, value in dotted(parameters) if name.rpartition(".")[2] == "seed"}


def dotted(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested settings; an empty mapping is a value."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def hash_table(table: pd.DataFrame) -> str:
    """Digest of names and values in their order, whatever file the table is kept in.

    A missing text equals an empty one: between a CSV and a Parquet file one turns into the other.
    """
    digest = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        digest.update(f"{name}\0{len(column)}\0".encode())
        if pd.api.types.is_numeric_dtype(column.dtype):
            digest.update(np.ascontiguousarray(column.to_numpy(np.float64)).data)
        else:
            texts = column.astype(object).where(column.notna(), "")
            digest.update("\0".join(map(str, texts)).encode())
    return digest.hexdigest()
