"""What the catalog says is recorded in MLflow, and the recording of one output.

Knows catalogs and an open run; not when a run is opened or ended.

A catalog entry is recorded as its metadata say: `mlflow: metrics` (numbers of a nested mapping), `history` (a
row a step), `artifact` (its file or folder), `model` (a `RegisteredModelDataset`, which writes into the run
itself) or `tags` (nothing but tags); or the long form, `mlflow: {kind: history, prefix: fine_tune}` or
`mlflow: {kind: tags, tags: {weights: receipt.name}}`; or a list of these.
"""

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from regraft.adapters.live_metrics import flatten_metrics, history_rows
from regraft.adapters.tracking_server import TrackingError

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol

    from regraft.adapters.tracked_run import TrackedRun


class Recording(BaseModel):
    """How one catalog entry is recorded.

    Attributes:
        kind: What of it.
        prefix: Before the names of metrics, with a slash.
        only: Of metrics: the keys recorded, at the first level; all where none is named.
        folder: Of the run's artifacts.
        tags: Tags of the run, and where in the data each is found: a dotted path into mappings and
            attributes, or comma-separated columns of a table, whose distinct rows are hashed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["metrics", "history", "artifact", "model", "tags"]
    prefix: str | None = None
    only: tuple[str, ...] = ()
    folder: str | None = None
    tags: dict[str, str] = {}

    @property
    def needs_data(self) -> bool:
        """Whether it takes the output itself, not just its file."""
        return self.kind in {"metrics", "history"} or bool(self.tags)


Recordings = Mapping[str, tuple[Recording, ...]]
_several = TypeAdapter(tuple[Recording, ...])


def read_recordings(catalog: "CatalogProtocol[Any, Any]", names: Iterable[str]) -> Recordings:
    """What the catalog says is recorded, among some datasets.

    Raises:
        TrackingError: Naming every entry whose `metadata: {mlflow: …}` is not understood.
    """
    found, faults = {}, []
    for name in sorted(names):
        metadata = getattr(catalog.get(name, fallback_to_runtime_pattern=True), "metadata", None)
        if not isinstance(metadata, Mapping) or "mlflow" not in metadata:
            continue
        given = metadata["mlflow"]
        several = given if isinstance(given, list) else [given]
        try:
            found[name] = _several.validate_python(
                [{"kind": one} if isinstance(one, str) else one for one in several]
            )
        except ValidationError as error:
            faults += [f"{name}: {fault['msg']} (got {fault['input']!r})" for fault in error.errors()]
    if faults:
        raise TrackingError(
            f"catalog, metadata.mlflow: {'; '.join(faults)}. Keys: {', '.join(Recording.model_fields)}"
        )
    return found


def record_output(
    run: "TrackedRun",
    catalog: "CatalogProtocol[Any, Any]",
    name: str,
    data: Any,
    several: Sequence[Recording],
) -> None:
    """Put one output into a run.

    Args:
        run: Where to.
        catalog: Knows where the output's file is.
        name: The output's.
        data: The output itself; anything where no recording needs it.
        several: How.
    """
    run.set_tags(find_tags(data, name, several))
    for recording in several:
        if recording.kind == "metrics":
            run.log_metrics(flatten_metrics(_select(data, recording.only, name), prefix=recording.prefix))
        elif recording.kind == "history":
            run.log_history(history_rows(data, prefix=recording.prefix))
        elif recording.kind == "artifact":
            run.log_file(_path_of(catalog, name), folder=recording.folder)


def record_from_disk(
    run: "TrackedRun",
    catalog: "CatalogProtocol[Any, Any]",
    recordings: Recordings,
    loaded: Mapping[str, Any],
) -> None:
    """Put outputs of an earlier process into a run, as far as they are there.

    `loaded` are datasets that somebody has loaded already: a backbone takes two seconds.
    """
    for name, several in recordings.items():
        if is_on_disk(catalog, name):
            data = loaded.get(name)
            if data is None and any(recording.needs_data for recording in several):
                data = catalog.load(name)
            record_output(run, catalog, name, data, several)


def tag_from_disk(tag: str, catalog: "CatalogProtocol[Any, Any]", recordings: Recordings) -> dict[str, str]:
    """One tag, if some output gives it and is there already."""
    tags: dict[str, str] = {}
    for name, several in recordings.items():
        if any(tag in recording.tags for recording in several) and is_on_disk(catalog, name):
            tags |= find_tags(catalog.load(name), name, several)
    return tags


def is_on_disk(catalog: "CatalogProtocol[Any, Any]", name: str) -> bool:
    """Whether a dataset is there, elsewhere than in memory."""
    return "MemoryDataset" not in type(catalog[name]).__name__ and catalog.exists(name)


def find_tags(data: Any, name: str, several: Sequence[Recording]) -> dict[str, str]:
    """Tags that an output gives to its run.

    Raises:
        TrackingError: If the data have no such part.
    """
    sources = {tag: source for recording in several for tag, source in recording.tags.items()}
    return {tag: _find_fact(data, source, name) for tag, source in sources.items()}


def hash_rows(table: Any, columns: Sequence[str]) -> str:
    """Digest of a table's distinct rows over some columns, whatever their order.

    Args:
        table: A data frame.
        columns: Which columns, in the order they enter; `target_*` stands for all of that beginning, or none.

    Raises:
        TrackingError: If a column is not there.
    """
    columns = [
        name
        for column in columns
        for name in (fnmatch.filter(table.columns, column) if column.endswith("*") else [column])
    ]
    if missing := [column for column in columns if column not in table.columns]:
        raise TrackingError(
            f"metadata.mlflow.tags: no column {', '.join(missing)}; known: {', '.join(table.columns)}"
        )
    some = table[columns].astype(object)
    some = some.where(some.notna(), "")  # None before it was saved may be NaN after
    rows = {"\t".join(map(str, row)) for row in some.itertuples(index=False)}
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _select(data: Mapping[str, Any], keys: Sequence[str], name: str) -> Mapping[str, Any]:
    if missing := [key for key in keys if key not in data]:
        known = ", ".join(sorted(map(str, data)))
        raise TrackingError(f"catalog, {name}: metadata.mlflow.only: no {', '.join(missing)}; known: {known}")
    return {key: data[key] for key in keys} if keys else data


def _find_fact(data: Any, source: str, name: str) -> str:
    if hasattr(data, "columns"):
        return hash_rows(data, source.replace(" ", "").split(","))
    for part in source.split("."):
        try:
            data = data[part] if isinstance(data, Mapping) else getattr(data, part)
        except (KeyError, AttributeError) as error:
            known = (
                data if isinstance(data, Mapping) else [one for one in dir(data) if not one.startswith("_")]
            )
            shown = ", ".join(sorted(map(str, known))[:20])
            raise TrackingError(
                f"catalog, {name}: metadata.mlflow.tags: no {source!r}; known: {shown}"
            ) from error
    return str(data)


def _path_of(catalog: "CatalogProtocol[Any, Any]", name: str) -> Path:
    dataset: Any = catalog[name]
    if getattr(dataset, "_version", None) is not None:
        return Path(str(dataset._get_load_path()))
    for attribute in ("_filepath", "_path"):  # kedro-datasets' names, and ours
        if (path := getattr(dataset, attribute, None)) is not None:
            return Path(str(path))
    raise TrackingError(
        f"catalog, {name}: `mlflow: artifact` needs a dataset of files, got {type(dataset).__name__}"
    )
