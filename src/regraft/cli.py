"""`kedro run` as regraft's users meet it: quiet, skipping what has not changed, errors in one line.

Knows Kedro's command line; what runs is none of its business.
"""

import logging
import logging.handlers
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from regraft.adapters.causes import cause_of
from regraft.adapters.command_parameters import parse_parameters
from regraft.adapters.configuration_faults import explain_fault
from regraft.adapters.write_faults import require_writable

LOG_FILE = Path("logs/regraft.log")


@click.group(name="regraft")
def cli() -> None:
    """Transfer learning for images, measured honestly."""


def _run(fresh: bool, as_is: bool, quiet: bool, verbose: bool, **arguments: Any) -> Any:
    from kedro.utils import find_kedro_project

    from regraft.adapters import interrupts
    from regraft.adapters.terminal import TERMINAL

    is_process_ours = not hasattr(sys, "ps1")  # and no notebook's or shell's, which go on afterwards
    if is_process_ours:
        interrupts.raise_once_on_interrupt()
        interrupts.raise_on_termination()
    try:
        os.chdir(
            find_kedro_project(Path.cwd()) or Path.cwd()
        )  # conf/ and artefacts hold paths relative to it
        TERMINAL.set_verbosity(0 if quiet else 1)
        if arguments["conf_source"] is None and not Path("conf").is_dir():
            raise ValueError(
                f"there is no folder conf in {Path.cwd()}: go to the project's, or give --conf-source"
            )
        _log_to_file(verbose)
        if arguments["runner"] is None:
            arguments["runner"] = "regraft.adapters.runner.StepRunner"
            switches = {"is_fresh": fresh, "is_trusting": as_is}
            arguments["runner_params"] = {**(arguments["runner_params"] or {}), **switches}
        with warnings.catch_warnings():
            # Kedro prefers --pipelines a,b; one pipeline by its name is what regraft's users say.
            warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")
            return kedro_run.callback(**arguments)  # type: ignore[misc]
    except BaseException as error:
        stopped = interrupts.received() or (signal.SIGINT if isinstance(error, KeyboardInterrupt) else None)
        if stopped is not None:
            name = "Ctrl-C" if stopped == signal.SIGINT else stopped.name
            _say(f"stopped by {name}; the next run goes on from there")
            sys.exit(128 + stopped)
        if verbose or not isinstance(error, Exception):
            raise
        logging.getLogger("regraft").debug("the run failed", exc_info=True)
        fault = explain_fault(cause_of(error), _environments(arguments), arguments["params"])
        _say(f"ConfigurationError: {fault}" if fault else _one_line(error))
        sys.exit(1)
    finally:
        if is_process_ours:
            interrupts.end_at_once_on_signals()  # nothing is left to put in order


def _environments(arguments: Mapping[str, Any]) -> list[Path]:
    """The folders that the configuration is read from, each laid over those before it."""
    from kedro.framework.project import settings

    conf, names = Path(arguments["conf_source"] or "conf"), settings.CONFIG_LOADER_ARGS
    return [conf / names["base_env"], conf / (arguments["env"] or names["default_run_env"])]


def _say(line: str) -> None:
    with suppress(OSError):  # of a terminal that was closed
        print(line, file=sys.stderr)


def _log_to_file(verbose: bool) -> None:
    """All detail goes to a file; `--verbose` sends it to the terminal too."""
    root = logging.getLogger()
    require_writable(LOG_FILE.absolute())
    LOG_FILE.parent.mkdir(exist_ok=True)
    file = _LogFile(LOG_FILE, maxBytes=5_000_000, backupCount=2, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root.addHandler(file)
    logging.getLogger("kedro").setLevel(logging.INFO)
    logging.getLogger("regraft").setLevel(logging.DEBUG)
    for handler in root.handlers:
        if verbose:
            handler.setLevel(logging.DEBUG)
        elif handler is not file:
            # Kedro logs a failure that is told in one line below, and tells how to resume what resumes by itself.
            handler.addFilter(lambda record: not record.name.startswith("kedro"))


class _LogFile(logging.handlers.RotatingFileHandler):
    """A log that a full disk cuts off: the run itself says so in its own line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing is printed between the lines of the run."""


def _one_line(error: BaseException) -> str:
    """What went wrong, for a person: the cause that names it, not the wrapper around it."""
    cause = cause_of(error)
    if isinstance(cause, ValueError | OSError) or type(cause).__module__.startswith(
        ("kedro.", "regraft.", "mlflow.")
    ):
        return f"{type(cause).__name__}: {cause}"
    return f"{type(cause).__name__}: {cause} (unexpected; the whole story is in {LOG_FILE}, or run with --verbose)"


def _parse_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    try:
        return value if isinstance(value, dict) else parse_parameters(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _kedro_options() -> list[click.Parameter]:
    """Those of Kedro's own `run`; `--params` takes lists too."""
    options = [copy(option) for option in kedro_run.params]
    for option in options:
        if option.name == "params":
            option.callback = _parse_params
    return options


run = click.Command(
    "run",
    callback=_run,
    help="Run a pipeline: only the steps whose inputs, parameters or code have changed.",
    params=[
        *_kedro_options(),
        click.Option(["--fresh"], is_flag=True, help="Run every step, changed or not."),
        click.Option(
            ["--as-is"],
            is_flag=True,
            help="Run a step on what is there, even where it does not belong together.",
        ),
        click.Option(["--quiet"], is_flag=True, help="Write the result and errors only."),
        click.Option(
            ["--verbose"], is_flag=True, help="Write all detail, tracebacks too; else it is in logs/."
        ),
    ],
)
cli.add_command(run)
