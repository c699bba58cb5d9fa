"""The command `regraft`: run pipelines without the project folder around it, and pack images.

Knows command lines only; `kedro run` is the same as `regraft run` inside a project.
"""

import os
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
