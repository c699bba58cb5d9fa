"""dvc.yaml says what the pipelines and the catalog say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from regraft.adapters import dvc_stages

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rendered() -> str:
    return dvc_stages.render(PROJECT)


@pytest.fixture(scope="module")
def stages(rendered: str) -> dict[str, dict]:
    return yaml.safe_load(rendered)["stages"]


def test_committed_file_is_current(rendered: str) -> None:
    assert (PROJECT / "dvc.yaml").read_text() == rendered


def test_every_step_is_a_stage_in_order(stages: dict[str, dict]) -> None:
    assert tuple(stages) == dvc_stages.STEPS


def test_parameter_of_the_head_concerns_no_earlier_step(stages: dict[str, dict]) -> None:
    concerned = [step for step, stage in stages.items() if "parameters_train_head" in str(stage["params"])]
    assert concerned == ["train_head", "fine_tune", "evaluate", "register"]


def test_code_of_training_concerns_no_earlier_step(stages: dict[str, dict]) -> None:
    def concerned(module: str) -> list[str]:
        return [step for step, stage in stages.items() if f"src/regraft/{module}.py" in stage["deps"]]

    assert concerned("training/fine_tune")[0] == "fine_tune"
    assert concerned("training/linear_probe")[0] == "train_head"
    assert concerned("images/decoding")[:2] == ["ingest", "normalize"]


def test_every_dependency_is_a_file_or_an_output(stages: dict[str, dict]) -> None:
    made = {path for stage in stages.values() for kind in ("outs", "metrics") for path in stage.get(kind, [])}
    for stage in stages.values():
        for path in stage["deps"]:
            assert path in made or (PROJECT / path).is_file(), path


def test_outputs_hold_nothing_that_depends_on_the_registry(stages: dict[str, dict]) -> None:
    outputs = [path for stage in stages.values() for path in stage.get("outs", [])]
    assert not [path for path in outputs if "registration" in path or "model_card" in path]


def test_check_tells_what_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rendered: str
) -> None:
    monkeypatch.setattr(dvc_stages, "render", lambda project: rendered)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(rendered.replace("src/regraft/images/decoding.py", "src/gone.py"))
    assert dvc_stages.main(["--check"]) == 1
    assert "gone.py" in capsys.readouterr().err
    assert dvc_stages.main([]) == 0
    assert dvc_stages.main(["--check"]) == 0


def test_images_of_ones_own_may_lie_around_the_folder_of_the_demonstration(tmp_path: Path) -> None:
    """DVC takes nothing for an output that lies within a dependency."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "conf", project / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copy(PROJECT / "pyproject.toml", project)
    file = project / "conf" / "base" / "parameters_ingest.yml"
    settings = yaml.safe_load(file.read_text())
    settings["ingest"]["source"] = {"kind": "csv", "path": "data/01_raw/mine.csv"}
    file.write_text(yaml.safe_dump(settings))
    script = (
        "import sys; from pathlib import Path; from regraft.adapters import dvc_stages\n"
        "dvc_stages.bootstrap_project = lambda project: None\n"
        "from kedro.framework.startup import bootstrap_project; bootstrap_project(Path(sys.argv[1]))\n"
        "print(dvc_stages.render(Path.cwd()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(PROJECT)], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    stage = yaml.safe_load(done.stdout)["stages"]["ingest"]
    assert {"data/01_raw", "data/01_raw/mine.csv"} <= set(stage["deps"])
    assert not [path for path in stage["outs"] if path.startswith("data/01_raw")]
