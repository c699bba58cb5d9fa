"""dvc.yaml says what the pipelines and the catalog say."""

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
