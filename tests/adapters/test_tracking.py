import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tracking_sample
from kedro.io import DatasetError
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from tracking_sample import Stage, free_port, run

from regraft.adapters import present_run, run_rows, server_faults, tracking
from regraft.adapters.tracking_server import TrackingError, TrackingServer, read_options, resolve_server

NODES = ("prepare", "train", "evaluate")
NOTE = Path(".regraft/open_run.json")


def client_of(root: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{root}/mlflow.db")


def rows_of(root: Path) -> list[Run]:
    """Runs, newest first."""
    client = client_of(root)
    experiment = client.get_experiment_by_name("sample")
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"]))


def the_row_of(root: Path) -> Run:
    (row,) = rows_of(root)
    return row


def server_of(root: Path, **changes: Any) -> TrackingServer:
    return resolve_server(read_options(tracking_sample.TRACKING | changes), project_path=root)


@contextmanager
def during_training(action: Callable[[], None]) -> Iterator[None]:
    Stage.during_training = staticmethod(action)
    try:
        yield
    finally:
        Stage.during_training = staticmethod(lambda: None)


def fail() -> None:
    raise RuntimeError("no memory left\nat line 2")


def test_one_run_is_one_row_with_all_that_the_catalog_names(root: Path) -> None:
    run(root)
    row = the_row_of(root)
    assert row.info.status == "FINISHED"
    assert row.data.params == {
        "prepare.seed": "1",
        "train.backbone": "tiny_net",
        "train.rates": "[0.1, 0.2]",
    }
    assert row.data.metrics["test/accuracy"] == 0.9
    assert row.data.metrics["test/accuracy/low"] == 0.8
    assert row.data.metrics["test/class _a/b_/recall"] == 1.0
    assert not any("confusion" in name or "weights" in name for name in row.data.metrics)
    files = client_of(root).list_artifacts(row.info.run_id)
    assert {file.path for file in files} == {"report.json", "histories"}
    assert row.info.artifact_uri == f"{root}/mlartifacts/{row.info.run_id}/artifacts"


def test_the_row_is_named_after_backbone_and_lineage_and_tagged(root: Path) -> None:
    run(root)
    row = the_row_of(root)
    tags = row.data.tags
    assert row.info.run_name == f"tiny_net-{tags['regraft.lineage'][:6]}"
    assert tags["backbone"] == "tiny_net"
    assert tags["weights"] == "ImageNet"
    assert tags["git_tree"] == "no git"
    assert {name for name in tags if name.startswith("regraft.done.")} == {
        f"regraft.done.{one}" for one in NODES
    }


def test_data_hash_depends_on_the_images_not_on_their_order(root: Path) -> None:
    from regraft.adapters.recordings import hash_rows

    table = pd.DataFrame({"sha256": ["1", "2", "3"], "label": ["a", "b", "a"], "path": ["x", "y", "z"]})
    digest = hash_rows(table, ["sha256", "label"])
    assert hash_rows(table.iloc[::-1], ["sha256", "label"]) == digest
    assert hash_rows(table.assign(path="elsewhere"), ["sha256", "label"]) == digest
    assert hash_rows(table.assign(label="a"), ["sha256", "label"]) != digest
    missing = [table.assign(group=pd.Series([None] * 3, dtype=kind)) for kind in ("object", "float", "str")]
    assert len({hash_rows(one, ["sha256", "group"]) for one in missing}) == 1
    assert hash_rows(table, ["sha256", "label", "target_*"]) == digest, "none there is nothing to add"
    of_ages = [
        hash_rows(table.assign(target_age=age), ["sha256", "label", "target_*"]) for age in (30.0, 31.0)
    ]
    assert len({digest, *of_ages}) == 3


def test_git_commit_is_recorded_and_what_the_run_writes_does_not_make_the_tree_dirty(root: Path) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (root / ".gitignore").write_text("mlflow.db\nmlartifacts/\n")
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "start")
    (root / "dvc.lock").write_text("written by dvc repro")
    run(root, "prepare", "train")
    tags = the_row_of(root).data.tags
    assert tags["git_commit"] == tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git_tree"] == "clean"
    (root / "conf" / "base" / "parameters.yml").write_text("{}")
    run(root)
    assert rows_of(root)[0].data.tags["git_tree"] == "dirty"


def test_live_metrics_arrive_while_the_node_runs_and_histories_do_not_repeat_them(root: Path) -> None:
    seen: list[int] = []

    def look() -> None:
        for _ in range(1200):
            time.sleep(0.05)
            row = the_row_of(root)
            if row.data.metrics.get("train/loss") == pytest.approx(1 / 3):
                seen.append(len(client_of(root).get_metric_history(row.info.run_id, "train/loss")))
                return

    with during_training(look):
        run(root)
    assert seen == [3]
    points = client_of(root).get_metric_history(the_row_of(root).info.run_id, "train/loss")
    assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]


def test_live_metrics_pass_a_quiet_log_without_breaking_its_silence(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="regraft.metrics")
    run(root)
    assert len(client_of(root).get_metric_history(the_row_of(root).info.run_id, "train/loss")) == 3
    assert not [record for record in caplog.records if record.name == "regraft.metrics"]
    assert logging.getLogger("regraft.metrics").getEffectiveLevel() == logging.ERROR


def test_system_metrics_are_there_even_for_a_run_shorter_than_their_interval(root: Path) -> None:
    run(root)
    assert 0 <= the_row_of(root).data.metrics["system/cpu_utilization_percentage"] <= 100


def test_only_the_named_keys_of_metrics_are_recorded(root: Path) -> None:
    entry = tracking_sample.CATALOG["metrics"]
    run(root, catalog={"metrics": entry | {"metadata": {"mlflow": {"kind": "metrics", "only": ["weights"]}}}})
    assert not any(name.startswith("test/") for name in the_row_of(root).data.metrics)
    wrong = entry | {"metadata": {"mlflow": {"kind": "metrics", "only": ["tset"]}}}
    with pytest.raises(
        TrackingError, match=r"metrics: metadata.mlflow.only: no tset; known: confusion, test"
    ):
        run(root, "evaluate", catalog={"metrics": wrong})


def test_seven_processes_share_one_row(root: Path) -> None:
    for name in NODES:
        run(root, name)
        assert the_row_of(root).info.status == "FINISHED"
    row = the_row_of(root)
    assert {name for name in row.data.tags if name.startswith("regraft.done.")} == {
        f"regraft.done.{one}" for one in NODES
    }
    assert not any(name.startswith("regraft.reused.") for name in row.data.tags)
    assert row.data.metrics["test/accuracy"] == 0.9


def test_a_rerun_on_purpose_gets_a_row_of_its_own_that_is_whole(root: Path) -> None:
    run(root)
    run(root, "evaluate")
    newest, first = rows_of(root)
    assert newest.data.tags["regraft.reused.train"] == "1"
    assert "regraft.done.train" not in newest.data.tags
    assert newest.data.metrics["train/loss"] == pytest.approx(1 / 3)
    assert newest.data.tags["data_sha256"] == first.data.tags["data_sha256"]
    assert {file.path for file in client_of(root).list_artifacts(newest.info.run_id)} == {
        "report.json",
        "histories",
    }


def test_a_rerun_of_an_earlier_node_gets_a_row_of_its_own_too(root: Path) -> None:
    run(root)
    run(root, "prepare", "train")
    run(root, "evaluate")
    newest, first = rows_of(root)
    assert set(first.data.tags) >= {f"regraft.done.{one}" for one in NODES}
    assert set(newest.data.tags) >= {f"regraft.done.{one}" for one in NODES}


def test_other_parameters_are_another_row(root: Path) -> None:
    run(root, "prepare", "train")
    run(root, "evaluate", backbone="other_net")
    names = [row.info.run_name.split("-")[0] for row in rows_of(root)]
    assert names == ["other_net", "tiny_net"]


def test_other_data_are_another_row(root: Path) -> None:
    run(root, "prepare")
    run(root, "train")
    pd.DataFrame({"sha256": ["9"], "label": ["a"]}).to_csv(root / "data" / "table.csv", index=False)
    run(root, "evaluate")
    newest, first = rows_of(root)
    assert newest.data.tags["data_sha256"] != first.data.tags["data_sha256"]


def test_nodes_that_are_up_to_date_open_no_run(root: Path) -> None:
    run(root)
    run(root, skip=NODES)
    assert present_run.summary() is None
    the_row_of(root)


def test_a_run_in_which_nothing_runs_imports_no_mlflow(root: Path) -> None:
    (root / "mlflow.db").unlink()
    done = subprocess.run(
        [sys.executable, tracking_sample.__file__, str(root), "--skip"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert not (root / "mlflow.db").exists()


def test_a_skipped_node_is_reused_in_the_row_of_the_next(root: Path) -> None:
    run(root, "prepare", "train")
    run(root, skip=["prepare", "train"], rates=[0.3])
    newest, _ = rows_of(root)
    assert newest.data.tags["regraft.reused.train"] == "1"
    assert newest.data.tags["regraft.done.evaluate"] == "1"


def test_a_failed_run_ends_failed_with_its_reason_and_is_taken_up_again(root: Path) -> None:
    with during_training(fail), pytest.raises(RuntimeError):
        run(root)
    failed = the_row_of(root)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["error"] == "train: RuntimeError: no memory left"
    run(root, skip=["prepare"])
    row = the_row_of(root)
    assert (row.info.run_id, row.info.status) == (failed.info.run_id, "FINISHED")
    assert "error" not in row.data.tags


@contextmanager
def training_process(root: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process, in the middle of the node `train`, its run open."""
    with subprocess.Popen(
        [sys.executable, tracking_sample.__file__, str(root)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "training"
        assert the_row_of(root).info.status == "RUNNING"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_killed(root: Path, number: signal.Signals) -> None:
    with training_process(root) as process:
        process.send_signal(number)
        assert process.wait(300) != 0  # a busy machine takes its time
    row = the_row_of(root)
    assert row.info.status == "KILLED"
    assert row.data.metrics["train/loss"] == pytest.approx(1 / 3)
    assert "regraft.done.train" not in row.data.tags


@pytest.mark.slow
def test_the_run_of_a_killed_process_is_ended_by_the_next(root: Path) -> None:
    with training_process(root) as process:
        process.kill()
        process.wait()
    assert the_row_of(root).info.status == "RUNNING"
    run(root, backbone="other_net")
    newest, killed = rows_of(root)
    assert (newest.info.status, killed.info.status) == ("FINISHED", "KILLED")
    assert killed.info.end_time is not None
    assert not NOTE.exists()


def test_the_run_of_a_killed_process_is_taken_up_by_one_of_its_kind(root: Path) -> None:
    with during_training(fail), pytest.raises(RuntimeError):
        run(root)
    killed = the_row_of(root)
    client_of(root).update_run(killed.info.run_id, status="RUNNING")  # as SIGKILL leaves it
    NOTE.write_text(json.dumps({"run_id": killed.info.run_id}))
    run(root, skip=["prepare"])
    row = the_row_of(root)
    assert (row.info.run_id, row.info.status) == (killed.info.run_id, "FINISHED")


class Interrupting:
    """A parameter during whose recording somebody presses Ctrl-C: the third time it is written out."""

    num_times = 0

    def __str__(self) -> str:
        self.num_times += 1
        if self.num_times == 3:
            raise KeyboardInterrupt
        return "value"


def test_a_run_interrupted_while_it_is_opened_is_killed(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(root, rates=Interrupting())
    assert the_row_of(root).info.status == "KILLED"
    assert json.loads(NOTE.read_text()) == {"run_id": the_row_of(root).info.run_id}
    run(root)
    assert sorted(row.info.status for row in rows_of(root)) == ["FINISHED", "KILLED"]


@pytest.mark.parametrize(("stopped_by", "status"), [(signal.SIGTERM, "KILLED"), (None, "FAILED")])
def test_a_run_whose_database_takes_a_signal_for_a_fault_is_killed(
    root: Path, monkeypatch: pytest.MonkeyPatch, stopped_by: signal.Signals | None, status: str
) -> None:
    def update_run(*_arguments: Any, **_settings: Any) -> None:
        raise MlflowException("(sqlite3.OperationalError) user-defined function raised exception")

    monkeypatch.setattr(MlflowClient, "update_run", update_run)
    monkeypatch.setattr(run_rows, "received", lambda: stopped_by)
    with pytest.raises(TrackingError):
        run(root)
    assert the_row_of(root).info.status == status


IN_A_WRITE = """
import os, signal, sqlite3
from pathlib import Path
import tracking_sample
from mlflow.tracking import MlflowClient
from regraft.adapters.interrupts import raise_on_termination

def write(*arguments, **settings):
    connection = sqlite3.connect("mlflow.db", isolation_level=None)
    connection.execute("begin immediate")
    os.kill(os.getpid(), signal.SIGTERM)
    connection.execute("commit")
    connection.close()
    print("written", flush=True)

raise_on_termination()
MlflowClient.update_run = write
tracking_sample.run(Path.cwd())
"""


@pytest.mark.slow
def test_a_run_told_to_end_in_a_write_to_its_database_ends_the_write_and_is_killed(root: Path) -> None:
    """Interrupted, the connection would hold its lock as long as the traceback holds the connection."""
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_WRITE],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(Path(tracking_sample.__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (143, "written\n"), ended.stderr
    assert the_row_of(root).info.status == "KILLED"


@pytest.mark.parametrize("content", ["", "[]", '{"run_id": "f00"}'])
def test_a_note_of_a_run_that_is_nowhere_is_thrown_away(root: Path, content: str) -> None:
    NOTE.parent.mkdir()
    NOTE.write_text(content)
    run(root)
    assert the_row_of(root).info.status == "FINISHED"
    assert not NOTE.exists()


def test_a_run_that_ended_otherwise_meanwhile_stays_so(root: Path) -> None:
    run(root)
    NOTE.write_text(json.dumps({"run_id": the_row_of(root).info.run_id}))
    run(root, backbone="other_net")
    assert [row.info.status for row in rows_of(root)] == ["FINISHED", "FINISHED"]


def test_while_a_run_is_open_a_note_says_which(root: Path) -> None:
    seen = []
    with during_training(lambda: seen.append(json.loads(NOTE.read_text()))):
        run(root)
    assert seen == [{"run_id": the_row_of(root).info.run_id}]


def test_a_runner_that_tells_of_an_interrupt_ends_the_run_at_once(root: Path) -> None:
    def interrupt() -> None:
        tracking.TrackingHook().on_pipeline_error(error=KeyboardInterrupt())
        assert the_row_of(root).info.status == "KILLED"
        raise KeyboardInterrupt

    with during_training(interrupt), pytest.raises(KeyboardInterrupt):
        run(root)
    assert not NOTE.exists()


def test_the_error_of_a_failed_run_is_the_cause_not_kedros_wrapper(root: Path) -> None:
    (root / "data").mkdir()
    (root / "data" / "history.json").mkdir()  # a folder where the file belongs
    with pytest.raises(DatasetError):
        run(root)
    row = the_row_of(root)
    assert row.info.status == "FAILED"
    assert row.data.tags["error"].startswith("IsADirectoryError: ")


def test_no_room_for_the_database_is_told_before_anything_runs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_faults, "_LEAST_FREE_BYTES", 10**18)  # no disk has that
    with pytest.raises(
        TrackingError, match=r"recorded in .*mlflow\.db \(no room on the disk, .* free\); nothing was run"
    ):
        run(root)
    assert not (root / "data").exists()


def test_a_run_interrupted_in_a_notebook_is_killed_when_the_next_begins(root: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with during_training(interrupt), pytest.raises(KeyboardInterrupt):
        run(root)
    run(root, backbone="other_net")
    newest, interrupted = rows_of(root)
    assert (newest.info.status, interrupted.info.status) == ("FINISHED", "KILLED")


def test_a_failure_to_record_costs_no_result_and_stops_before_the_next_node(root: Path) -> None:
    entry = tracking_sample.CATALOG["history"] | {
        "metadata": {"mlflow": {"kind": "tags", "tags": {"loss": "0.loss"}}}
    }
    with pytest.raises(TrackingError, match=r"history: metadata.mlflow.tags: no '0.loss'"):
        run(root, catalog={"history": entry})
    assert json.loads((root / "data" / "history.json").read_text())[2]["epoch"] == 2
    assert not (root / "data" / "metrics.json").exists()
    row = the_row_of(root)
    assert row.info.status == "FAILED"
    assert "regraft.done.train" not in row.data.tags
    run(root, skip=["prepare", "train"])
    assert the_row_of(root).data.tags["regraft.reused.train"] == "1"


def test_summary_tells_where_the_run_is(root: Path) -> None:
    run(root)
    row = the_row_of(root)
    assert present_run.summary() == present_run.RunSummary(
        run_id=row.info.run_id,
        run_name=row.info.run_name,
        tracking_uri=f"sqlite:///{root}/mlflow.db",
        experiment_id=row.info.experiment_id,
        model_name=None,
        model_version=None,
        aliases=(),
    )


def test_mlflow_run_id_wins(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root)
    row = the_row_of(root)
    mine = client_of(root).create_run(row.info.experiment_id, run_name="mine")
    monkeypatch.setenv("MLFLOW_RUN_ID", mine.info.run_id)
    run(root)
    mine = client_of(root).get_run(mine.info.run_id)
    assert (mine.info.run_name, mine.info.status) == ("mine", "FINISHED")
    assert mine.data.params["train.backbone"] == "tiny_net"
    assert len(rows_of(root)) == 2


def test_a_dvc_experiment_names_its_row_and_shares_none(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root, "prepare", "train")
    monkeypatch.setenv("DVC_EXP_NAME", "pious-yaps")
    run(root, "evaluate")
    run(root, skip=["prepare", "train", "evaluate"])
    assert [row.info.run_name.split("-")[0] for row in rows_of(root)] == ["pious", "tiny_net"]


def test_files_of_a_moved_checkout_are_found_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(root)
    moved = root.rename(root.with_name("moved [here] 100%"))
    monkeypatch.chdir(moved)
    run(moved, backbone="other_net")
    newest, first = rows_of(moved)
    for row in (newest, first):
        path = client_of(moved).download_artifacts(row.info.run_id, "report.json", str(moved))
        assert json.loads(Path(path).read_text()) == {"num_images": 3}
    assert first.info.artifact_uri.startswith(f"{moved}/mlartifacts/")


def test_artifacts_are_left_where_they_are_while_they_are_there(make_project: Callable[[str], Path]) -> None:
    root = make_project("first")
    run(root)
    run(root, tracking={"artifacts": "elsewhere"}, backbone="other_net")
    assert {row.info.artifact_uri.split("/")[-3] for row in rows_of(root)} == {"mlartifacts"}


def test_uri_of_the_environment_wins_and_relative_files_are_anchored(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_of(root).uri == f"sqlite:///{root}/mlflow.db"
    assert server_of(root, uri="sqlite:///runs/all.db").uri == f"sqlite:///{root}/runs/all.db"
    assert server_of(root, uri="sqlite:////runs/all.db").uri == "sqlite:////runs/all.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert server_of(root, uri="sqlite:///runs/all.db").uri == "http://localhost:5000"
    assert server_of(root).artifacts is None


def test_a_temporary_experiment_of_dvc_records_where_it_was_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(root))
    temporary = root / ".dvc" / "tmp" / "exps" / "tmp123"
    temporary.mkdir(parents=True)
    assert server_of(temporary).uri == f"sqlite:///{root}/mlflow.db"
    assert server_of(root / "sub").uri == f"sqlite:///{root}/sub/mlflow.db"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uri": "file:./mlruns"}, r"got 'file:./mlruns'; allowed: sqlite:///"),
        (
            {"experiement": "x"},
            r"tracking.experiement: Extra inputs are not permitted.*Known keys: uri, experiment",
        ),
        ({"send_interval_s": 0, "experiment": ""}, r"tracking.experiment: .*tracking.send_interval_s: "),
        ({"tags": {"backbone": "train.bakcbone"}}, r"parameters that are not there: train.bakcbone"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(root: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        run(root, tracking=changes)
    assert not (root / "data" / "history.json").exists()


def test_a_mistake_in_the_metadata_is_named_before_anything_runs(root: Path) -> None:
    wrong = {
        "history": tracking_sample.CATALOG["history"] | {"metadata": {"mlflow": "histroy"}},
        "report": tracking_sample.CATALOG["report"]
        | {"metadata": {"mlflow": {"kind": "artifact", "dir": "x"}}},
    }
    with pytest.raises(
        TrackingError, match=r"(?s)history: .*'histroy'.*report: .*Keys: kind, prefix, only, folder, tags"
    ):
        run(root, catalog=wrong)
    assert not (root / "data").exists()


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("kind", ["closed", "silent", "unknown host", "database"])
def test_a_server_that_does_not_answer_is_told_in_seconds_before_anything_runs(root: Path, kind: str) -> None:
    with silent_server() as port:
        free = port if kind == "silent" else free_port()
        uri = {
            "unknown host": "http://someone:secret@no-such-host.invalid:5000",
            "database": f"postgresql://someone:secret@127.0.0.1:{free}/mlflow",
        }.get(kind, f"http://someone:secret@127.0.0.1:{free}")
        started = time.monotonic()
        with pytest.raises(TrackingError, match="does not answer") as caught:
            run(root, tracking={"uri": uri, "connect_timeout_s": 1})
    assert time.monotonic() - started < 5
    assert uri.replace("someone:secret", "***") in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "Start the server" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (root / "data").exists()


@pytest.mark.slow
def test_a_real_server_gets_the_same_and_its_files(root: Path, real_server: str) -> None:
    for name in NODES:
        run(root, name, tracking={"uri": real_server, "system_metrics_interval_s": 1})
    client = MlflowClient(real_server)
    experiment = client.get_experiment_by_name("sample")
    assert experiment is not None
    (row,) = client.search_runs([experiment.experiment_id])
    assert row.info.status == "FINISHED"
    assert row.info.artifact_uri is not None
    assert row.info.artifact_uri.startswith("mlflow-artifacts:")
    assert row.data.metrics["test/accuracy"] == 0.9
    assert len(client.get_metric_history(row.info.run_id, "train/loss")) == 3
    path = client.download_artifacts(row.info.run_id, "report.json", str(root))
    assert json.loads(Path(path).read_text()) == {"num_images": 3}
    summary = present_run.summary()
    assert summary is not None
    assert summary.tracking_uri == real_server


def test_a_database_half_made_by_a_killed_process_is_made_anew(tmp_path: Path) -> None:
    script = """
        import sys
        from regraft.adapters.tracking_server import TrackingOptions, TrackingServer

        options = TrackingOptions(
            uri=None, experiment="any", artifacts="any", registered_model_name="any", tags={},
            system_metrics_interval_s=None, send_interval_s=1, connect_timeout_s=4,
        )
        client = TrackingServer(f"sqlite:///{sys.argv[1]}", None, options).connect()
        print(client.get_experiment_by_name("Default").experiment_id)
    """
    database = tmp_path / "mlflow.db"
    command = [sys.executable, "-c", textwrap.dedent(script), str(database)]
    killed = subprocess.Popen(command, cwd=tmp_path)
    while not (tmp_path / ".mlflow.db.writing").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not database.exists()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.stdout == "0\n", again.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
