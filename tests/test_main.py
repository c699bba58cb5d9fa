import pytest
from click.testing import CliRunner

from regraft.__main__ import cli


def test_help_lists_run_and_rebuild() -> None:
    shown = CliRunner().invoke(cli, ["--help"])
    assert shown.exit_code == 0
    assert "rebuild" in shown.output
    assert "run " in shown.output


@pytest.mark.parametrize("arguments", [["run", "--help"], ["--fresh", "--help"]])
def test_options_without_a_command_are_those_of_run(arguments: list[str]) -> None:
    shown = CliRunner().invoke(cli, arguments)
    assert "--pipeline" in shown.output


def test_a_misspelt_command_is_named() -> None:
    told = CliRunner().invoke(cli, ["rebuilt", "models:/a/1"])
    assert told.exit_code == 2
    assert "No such command 'rebuilt'" in told.output


def test_outside_a_project_nothing_is_rebuilt(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    told = CliRunner().invoke(cli, ["rebuild", "models:/a/1"])
    assert told.exit_code == 2
    assert f"{folder.as_posix()} is in no project of Kedro" in told.output
