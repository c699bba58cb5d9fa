"""The script that installs: what it does where a step of installing fails."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "src" / "bootstrap.py"
FAILS_WITHOUT = (
    "import os, sys; 'UV_SYSTEM_CERTS' in os.environ or sys.exit('invalid peer certificate: UnknownIssuer')"
)


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_setting() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "UV_SYSTEM_CERTS"}


def test_an_unknown_certificate_is_asked_of_the_system(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.run_step([sys.executable, "-c", FAILS_WITHOUT, "uv"], without_setting())
    assert capsys.readouterr().err == "a certificate is not known; trying again with those of this system\n"


@pytest.mark.parametrize(
    ("reason", "setting"), [("no space left", {}), ("certificate has expired", {"UV_SYSTEM_CERTS": "0"})]
)
def test_what_fails_otherwise_is_told_and_not_tried_again(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str], reason: str, setting: dict[str, str]
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.run_step(
            [sys.executable, "-c", f"import sys; sys.exit({reason!r})", "uv"], without_setting() | setting
        )
    assert capsys.readouterr().err == f"{reason}\n"


def test_an_unknown_certificate_that_the_system_does_not_know_either_is_told_once(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.run_step(
            [sys.executable, "-c", "import sys; sys.exit('no such certificate')", "uv"], without_setting()
        )
    assert capsys.readouterr().err.count("no such certificate") == 1


def test_pip_has_asked_the_system_already(bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.run_step([sys.executable, "-c", FAILS_WITHOUT, "pip"], without_setting())
    assert "trying again" not in capsys.readouterr().err


def test_a_reason_in_no_known_encoding_is_told(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    code = r"import sys; sys.stderr.buffer.write(b'\xff is no letter'); sys.exit(1)"
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.run_step([sys.executable, "-c", code], without_setting())
    assert "is no letter" in capsys.readouterr().err
