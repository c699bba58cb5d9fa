"""Make this checkout's own environment from the lock file, then run a command in it.

`python3 src/bootstrap.py kedro run --pipeline finetune` needs nothing but Python 3.11 to 3.13 with its `venv`.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / ".venv"
SCRIPTS = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
STAMP = ENVIRONMENT / "regraft-installed"
UV_VERSION = "0.13.9"


def main() -> int:
    """Install what is missing; run the rest of the command line in the environment."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        print(f"regraft needs Python 3.11 to 3.13; this is {sys.version.split()[0]}", file=sys.stderr)
        return 1
    # Without compiled bytecode every process compiles every import again: 13 s instead of 4 for torch alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["VIRTUAL_ENV"] = str(ENVIRONMENT)
    environment["PATH"] = f"{SCRIPTS}{os.pathsep}{environment.get('PATH', '')}"
    state = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if not STAMP.is_file() or STAMP.read_text() != state:
        try:
            install(environment)
        except subprocess.CalledProcessError as error:
            print(f"installing failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
            return 1
        STAMP.write_text(state)
    if len(sys.argv) == 1:
        return 0
    command = [str(SCRIPTS / sys.argv[1]), *sys.argv[2:]]
    if not Path(command[0]).exists():
        print(f"there is no {sys.argv[1]!r} in {SCRIPTS}", file=sys.stderr)
        return 127
    os.chdir(ROOT)
    # In this process's place, so that Ctrl-C reaches the command itself and it can end its run in order.
    return os.execve(command[0], command, environment)


def install(environment: dict[str, str]) -> None:
    """A virtual environment with exactly the packages of the lock file, each checked by its hash."""
    print("installing into .venv (once; about 6 GB, mostly PyTorch)", file=sys.stderr)
    if not (ENVIRONMENT / "pyvenv.cfg").is_file():
        made = subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=False)
        if made.returncode:
            hint = "on Debian and Ubuntu: apt install python3-venv"
            print(f"this Python cannot make environments; {hint}", file=sys.stderr)
            made.check_returncode()
    python = SCRIPTS / Path(sysconfig.get_config_var("EXE") or "python").with_name("python").name
    uv = [str(python), "-m", "uv", "-q"]
    steps = [
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", f"uv=={UV_VERSION}"],
        [*uv, "pip", "sync", "--require-hashes", "--compile-bytecode", str(LOCK)],
        [*uv, "pip", "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
    ]
    if (SCRIPTS / "uv").exists():
        del steps[0]
    for step in steps:
        run_step(step, environment)


def run_step(step: list[str], environment: dict[str, str]) -> None:
    """Run it; where uv does not know who signed a certificate, once more with the certificates of this system.

    A company's proxy signs with its own, which the system mostly knows. pip asks the system by itself.
    """
    done = subprocess.run(
        step,
        env=environment,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    is_unknown = done.returncode and "uv" in step and "certificate" in done.stderr
    if is_unknown and "UV_SYSTEM_CERTS" not in environment:
        print("a certificate is not known; trying again with those of this system", file=sys.stderr)
        run_step(step, {**environment, "UV_SYSTEM_CERTS": "1"})
        return
    print(done.stderr, end="", file=sys.stderr)
    done.check_returncode()


if __name__ == "__main__":
    sys.exit(main())
