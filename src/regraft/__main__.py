"""The command `regraft`: run pipelines without the project folder around it, rebuild models, pack images.

Knows command lines only; `kedro run` is the same as `regraft run` inside a project.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, cast

import click

from regraft.adapters.pack_commands import pack, unpack

if not Path("conf/logging.yml").is_file():
    # Read when Kedro is imported; its own configuration writes INFO lines in colour between regraft's.
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(Path(__file__).with_name("logging.yml")))


class _Commands(click.Group):
    """Kedro's packaged projects take the options of `run` without a word before them; so does this one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        is_run = not args or (args[0].startswith("-") and args[0] not in ("--help", "-h"))
        return super().parse_args(ctx, ["run", *args] if is_run else args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """`run` is Kedro's, and loaded when it is wanted."""
        return ["run", *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them."""
        return _find_run() if cmd_name == "run" else super().get_command(ctx, cmd_name)


@click.group(name="regraft", cls=_Commands)
def cli() -> None:
    """Transfer learning for images, measured honestly."""


@cli.command()
@click.argument("model", metavar="models:/NAME/VERSION")
@click.option("--into", type=click.Path(path_type=Path), help="A folder, empty or new; else a temporary one.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where relative paths of images and files of weights begin; else this project.",
)
@click.option(
    "--keep", is_flag=True, help="Keep the temporary folder; it is kept anyhow where something differs."
)
def rebuild(model: str, into: Path | None, data: Path | None, keep: bool) -> None:
    """Make a registered model again in a clean folder, without network, and compare.

    Also takes models:/NAME@ALIAS. The status is 0 if model, predictions and metrics are identical, 1 if not, 2 if the
    model could not be made again.
    """
    from regraft.adapters.rebuild import rebuild

    try:
        rebuilt = rebuild(model, into=into, data=data, tell=lambda line: click.echo(line, err=True))
    except (ValueError, OSError) as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(2)
    comparison = rebuilt.comparison
    click.echo("\n".join(["", rebuilt.version.address, *comparison.table(), ""]))
    for sentence in comparison.sentences():
        click.echo(f"* {sentence}")
    click.echo("identical" if comparison.is_identical else "not identical")
    if comparison.is_identical and into is None and not keep:
        shutil.rmtree(rebuilt.folder)
    else:
        click.echo(f"kept: {rebuilt.folder.as_posix()}")
    sys.exit(0 if comparison.is_identical else 1)


cli.add_command(pack)
cli.add_command(unpack)


def _find_run() -> click.Command:
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package_name = Path(__file__).parent.name
    configure_project(package_name)
    return cast(click.Command, find_run_command(package_name))


def main(*args: Any, **kwargs: Any) -> Any:
    """Run a command; `regraft --help` lists them."""
    kwargs["standalone_mode"] = not hasattr(sys, "ps1")
    return cli(*args, **kwargs)


if __name__ == "__main__":
    main()
