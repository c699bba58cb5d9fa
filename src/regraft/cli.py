"""`kedro run` as regraft's users meet it: quiet, skipping what has not changed, errors in one line.

Knows Kedro's command line; what runs is none of its business.
"""

import logging
import logging.handlers
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

LOG_FILE = Path("logs/regraft.log")


@click.group(name="regraft")
def cli() -> None:
    """Transfer learning for images, measured honestly."""


def _run(fresh: bool, quiet: bool, verbose: bool, **arguments: Any) -> Any:
    from kedro.framework.startup import bootstrap_project
    from kedro.utils import find_kedro_project

    from regraft.adapters.terminal import TERMINAL

    project_path = find_kedro_project(Path.cwd()) or Path.cwd()
    os.chdir(project_path)  # paths in conf/ and in the artefacts are relative to the project
    bootstrap_project(project_path)
    TERMINAL.set_verbosity(0 if quiet else 1)
    _log_to_file(verbose)
    if arguments["runner"] is None:
        arguments["runner"] = "regraft.adapters.runner.StepRunner"
        arguments["runner_params"] = {**(arguments["runner_params"] or {}), "is_fresh": fresh}
    try:
        with warnings.catch_warnings():
            # Kedro prefers --pipelines a,b; one pipeline by its name is what regraft's users say.
            warnings.filterwarnings("ignore", message="Option '--pipeline' is deprecated")
            return kedro_run.callback(**arguments)  # type: ignore[misc]
    except KeyboardInterrupt:
        print("stopped; the next run goes on after the last finished step", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if verbose:
            raise
        logging.getLogger("regraft").debug("the run failed", exc_info=True)
        print(_one_line(error), file=sys.stderr)
        sys.exit(1)


def _log_to_file(verbose: bool) -> None:
    """All detail goes to a file; `--verbose` sends it to the terminal too."""
    root = logging.getLogger()
    LOG_FILE.parent.mkdir(exist_ok=True)
    file = logging.handlers.RotatingFileHandler(LOG_FILE, maxBytes=5_000_000, backupCount=2, encoding="utf-8")
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


def _one_line(error: BaseException) -> str:
    """What went wrong, for a person: the cause that names it, not the wrapper around it."""
    cause: BaseException = error
    while type(cause).__module__.startswith("kedro.") and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ValueError | OSError) or type(cause).__module__.startswith(
        ("kedro.", "regraft.", "mlflow.")
    ):
        return f"{type(cause).__name__}: {cause}"
    return f"{type(cause).__name__}: {cause} (unexpected; the whole story is in {LOG_FILE}, or run with --verbose)"


run = click.Command(
    "run",
    callback=_run,
    help="Run a pipeline: only the steps whose inputs, parameters or code have changed.",
    params=[
        *kedro_run.params,
        click.Option(["--fresh"], is_flag=True, help="Run every step, changed or not."),
        click.Option(["--quiet"], is_flag=True, help="Write the result and errors only."),
        click.Option(
            ["--verbose"], is_flag=True, help="Write all detail, tracebacks too; else it is in logs/."
        ),
    ],
)
cli.add_command(run)
