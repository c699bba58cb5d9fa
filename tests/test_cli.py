import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.io import DatasetError

from regraft.cli import _LogFile, _one_line, cli, run
from regraft.images.faults import ManifestError

PROJECT = Path(__file__).parents[1]


class SurprisingError(Exception):
    """Nothing of ours."""


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_an_error_is_told_by_its_name_and_sentence() -> None:
    assert _one_line(ManifestError("3 images cannot be read")) == "ManifestError: 3 images cannot be read"
    assert _one_line(FileNotFoundError(2, "No such file", "a.csv")).startswith("FileNotFoundError: ")


def test_kedros_wrapper_gives_way_to_the_cause() -> None:
    error = raised(DatasetError("Failed while loading data from dataset"), ValueError("holds 'head'"))
    assert _one_line(error) == "ValueError: holds 'head'"
    assert _one_line(DatasetError("no cause")) == "DatasetError: no cause"


def test_what_nobody_expected_says_where_the_story_is() -> None:
    told = _one_line(SurprisingError("boo"))
    assert told.startswith("SurprisingError: boo (unexpected; ")
    assert "logs/regraft.log" in told
    assert "--verbose" in told


@pytest.mark.parametrize(
    "option", ["--fresh", "--as-is", "--quiet", "--verbose", "--pipeline", "--params", "--env"]
)
def test_run_takes_kedros_options_and_its_own(option: str) -> None:
    assert cli.commands["run"] is run
    assert any(option in parameter.opts for parameter in run.params)


def test_a_full_log_disk_prints_nothing_between_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    handler = _LogFile("/dev/full", delay=True)
    handler.emit(logging.makeLogRecord({"msg": "lost"}))
    with pytest.raises(OSError, match="No space left"):
        handler.close()
    assert capsys.readouterr().err == ""


def test_a_configuration_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    shutil.copytree(PROJECT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "conf/local").mkdir()
    (tmp_path / "conf/local/parameters.yml").write_text("ingest:\n  exclude: [*.txt]\n")
    command = [sys.executable, "-m", "kedro", "run", "--pipeline", "ingest"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith(
        "ConfigurationError: conf/local/parameters.yml, line 2: "
    ), ran.stderr
