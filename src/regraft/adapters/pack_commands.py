"""`regraft pack` and `regraft unpack`: a folder of many images into a few large shards, and back.

Knows command lines and where files are put; what is in a shard is `images.packing`'s.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from regraft.adapters.files import written_whole

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("folder", type=_FOLDER)
@click.argument("out", type=_FOLDER)
@click.option(
    "--shard-mb", type=click.IntRange(min=1), default=128, show_default=True, help="About how large a shard."
)
def pack(folder: Path, out: Path, shard_mb: int) -> None:
    """Pack the files of FOLDER into shards in OUT: the same bytes each time, images byte for byte.

    OUT then takes the place of FOLDER in ingest.source.path (kind: folder) or ingest.source.images (kind: csv).
    """
    from regraft.images.packing import pack_folder

    with _told(), _progress("packing") as on_progress:
        _require_new(out)
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(
                f"{out.as_posix()} lies in {folder.as_posix()}, the folder to pack; put it beside"
            )
        with written_whole(out) as aside:
            aside.mkdir()
            packed = pack_folder(folder, aside, shard_bytes=shard_mb * 2**20, on_progress=on_progress)
    click.echo(
        f"packed {packed.num_files:,} files, {packed.num_bytes / 2**20:,.1f} MB, into {packed.num_shards:,} shards: "
        f"{out.as_posix()}"
    )
    if packed.left_out:
        click.echo(f"left out, {len(packed.left_out)}: {', '.join(packed.left_out)}")


@click.command()
@click.argument("folder", type=_FOLDER)
@click.argument("out", type=_FOLDER)
def unpack(folder: Path, out: Path) -> None:
    """Write the files in the shards of FOLDER to OUT, as they were."""
    from regraft.images.packing import unpack_folder

    with _told(), _progress("unpacking") as on_progress:
        _require_new(out)
        aside = out.with_name(
            f".{out.name}.writing"
        )  # not `written_whole`: to flush each small file takes minutes
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            num_files = unpack_folder(folder, aside, on_progress=on_progress)
            aside.replace(out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    click.echo(f"unpacked {num_files:,} files: {out.as_posix()}")


def _require_new(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"the folder {out.as_posix()} is not empty; name a new one")


@contextmanager
def _told() -> Iterator[None]:
    """What a person can mend is one line."""
    try:
        yield
    except (ValueError, OSError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(1)


@contextmanager
def _progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """A bar where somebody looks; a task of less than two seconds never shows."""
    from tqdm import tqdm

    with tqdm(desc=task, delay=2, leave=False, file=sys.stderr, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
