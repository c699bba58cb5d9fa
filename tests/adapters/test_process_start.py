"""A step's process starts without what other steps need."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
HEAVY = ("matplotlib", "mlflow", "sklearn", "timm", "torch")
_START = """
import sys
from pathlib import Path
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path(sys.argv[1]))
with KedroSession.create(project_path=Path(sys.argv[1]), env="base") as session:
    catalog = session.load_context().catalog
    for node in pipelines[sys.argv[2]].nodes:
        for name in (*node.inputs, *node.outputs):
            catalog.get(name)
print(*(name for name in sys.argv[3:] if name in sys.modules))
"""


def test_a_process_that_finds_nothing_to_do_imports_nothing_heavy() -> None:
    """It asks for the files of all steps: left-overs of a killed run may be anywhere."""
    done = subprocess.run(
        [sys.executable, "-c", _START, str(PROJECT), "finetune", *HEAVY],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
