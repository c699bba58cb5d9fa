"""Start regraft without the project folder around it, as `kedro package` installs it.

Knows the package's name only.
"""

import os
import sys
from pathlib import Path
from typing import Any

if not Path("conf/logging.yml").is_file():
    # Read when Kedro is imported; its own configuration writes INFO lines in colour between regraft's.
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(Path(__file__).with_name("logging.yml")))


def main(*args: Any, **kwargs: Any) -> Any:
    """Run the project's `run` command; `regraft --help` lists its options."""
    from kedro.framework.cli.utils import find_run_command
    from kedro.framework.project import configure_project

    package_name = Path(__file__).parent.name
    configure_project(package_name)
    is_interactive = hasattr(sys, "ps1")
    kwargs["standalone_mode"] = not is_interactive
    return find_run_command(package_name)(*args, **kwargs)


if __name__ == "__main__":
    main()
