"""A run that tries several models: a row each, below its own."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from tracking_sample import Stage, run

from regraft.messages import about_model, report_metrics, report_tags


def rows_of(root: Path) -> tuple[Run, dict[str, Run]]:
    """The run's own row, and those below it by name."""
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("sample")
    assert experiment is not None
    rows = client.search_runs([experiment.experiment_id])
    (own,) = [row for row in rows if "mlflow.parentRunId" not in row.data.tags]
    below = [row for row in rows if row.data.tags.get("mlflow.parentRunId") == own.info.run_id]
    assert len(below) == len(rows) - 1
    return own, {row.info.run_name: row for row in below}


@contextmanager
def during_training(action: Callable[[], None]) -> Iterator[None]:
    Stage.during_training = staticmethod(action)
    try:
        yield
    finally:
        Stage.during_training = staticmethod(lambda: None)


def try_two() -> None:
    for name, loss in (("small", 0.5), ("large", 0.25)):
        with about_model(name, parameters={"train": {"backbone": name}}):
            report_tags({"backbone": name})
            report_metrics({"val/log_loss": loss}, step=0)
    report_metrics({"train/loss": 9.0}, step=7)


def test_each_model_is_a_row_below_the_run_with_its_own_metrics_and_parameters(root: Path) -> None:
    with during_training(try_two):
        run(root)
    own, below = rows_of(root)
    assert set(below) == {"small", "large"}
    assert {name: row.data.metrics["val/log_loss"] for name, row in below.items()} == {
        "small": 0.5,
        "large": 0.25,
    }
    assert "val/log_loss" not in own.data.metrics
    assert own.data.metrics["train/loss"] == 9.0
    assert "train/loss" not in below["small"].data.metrics
    small = below["small"]
    assert small.data.params["train.backbone"] == "small"
    assert small.data.params["prepare.seed"] == own.data.params["prepare.seed"]
    assert small.data.tags["backbone"] == "small"
    assert small.data.tags["data_sha256"] == own.data.tags["data_sha256"]
    assert {row.info.status for row in (own, *below.values())} == {"FINISHED"}


def test_a_model_that_fails_and_the_run_are_failed_while_the_one_before_is_finished(root: Path) -> None:
    def fail_at_second() -> None:
        with about_model("small"):
            report_metrics({"val/log_loss": 0.5}, step=0)
        with about_model("large"):
            raise ValueError("out of luck")

    with during_training(fail_at_second), pytest.raises(ValueError, match="out of luck"):
        run(root)
    own, below = rows_of(root)
    assert own.info.status == "FAILED"
    assert {name: row.info.status for name, row in below.items()} == {"small": "FINISHED", "large": "FAILED"}

    with during_training(try_two):
        run(root, skip=["prepare"])
    again, below = rows_of(root)
    assert again.info.run_id == own.info.run_id
    assert {name: row.info.status for name, row in below.items()} == dict.fromkeys(below, "FINISHED")
    assert len(below) == 2


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGKILL])
def test_the_row_of_a_model_under_way_is_killed_with_its_run(root: Path, stop: signal.Signals) -> None:
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from tracking_sample import Stage, run
        from regraft.messages import about_model, report_metrics

        def train() -> None:
            with about_model("small"):
                print("training", flush=True)
                time.sleep(60)

        Stage.during_training = staticmethod(train)
        run(Path({str(root)!r}))
    """)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    process.send_signal(stop)
    process.wait(120)
    with during_training(lambda: None):
        run(root, seed=2)  # another run, which marks what a killed one could not
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    experiment = client.get_experiment_by_name("sample")
    assert experiment is not None
    rows = client.search_runs([experiment.experiment_id])
    by_name = {row.info.run_name: row.info.status for row in rows if "mlflow.parentRunId" in row.data.tags}
    assert by_name == {"small": "KILLED"}
    assert sorted(row.info.status for row in rows) == ["FINISHED", "KILLED", "KILLED"]


def test_models_do_not_overlap() -> None:
    fault = pytest.raises(ValueError, match="'large' begins before 'small'")
    with about_model("small"), fault, about_model("large"):
        pass
