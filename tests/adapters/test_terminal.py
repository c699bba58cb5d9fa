import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from regraft.adapters import terminal
from regraft.adapters.closing_lines import closing_table
from regraft.adapters.runner import STEPS_LOGGER
from regraft.adapters.step_facts import FACTS
from regraft.adapters.terminal import TerminalHook
from regraft.messages import PROGRESS_LOGGER
from regraft.pipelines.predict import create_pipeline


def estimate(value: float | None, low: float | None = None, high: float | None = None, **more: str) -> dict:
    return {"value": value, "low": low, "high": high, **more}


PROBE = {
    "accuracy": estimate(0.8589, 0.8311, 0.8849),
    "balanced_accuracy": estimate(0.84, 0.8, 0.88),
    "macro_f1": estimate(0.83, 0.79, 0.87),
    "roc_auc": estimate(None, reason="needs two classes"),
    "log_loss": estimate(0.35, 0.3, 0.4),
}
FINE_TUNED = PROBE | {"accuracy": estimate(0.887, 0.8624, 0.91), "log_loss": estimate(0.31)}
METRICS = {
    "test": {"probe": PROBE, "fine_tuned": FINE_TUNED},
    "baselines": {"majority_class": {"accuracy": estimate(0.687, 0.65, 0.72), "label_name": "functional"}},
}
SEVERAL = {
    "targets": [
        {"name": "age", "kind": "number"},
        {"name": "left_eye", "kind": "points", "num_points": 2},
    ],
    "test": {
        model: {
            "age.mean_absolute_error": estimate(age, age - 0.5, age + 0.5),
            "left_eye.mean_distance": estimate(0.0215, 0.0205, 0.0225),
            "joint_loss": estimate(1.5, 1.25, 1.75),
        }
        for model, age in (("probe", 6.25), ("fine_tuned", 5.0))
    },
    "baselines": {
        "constant": {
            "age.mean_absolute_error": estimate(12.5, 12.0, 13.0),
            "left_eye.mean_distance": estimate(0.05, 0.04, 0.06),
        },
        "group": {
            name: estimate(None, reason="the images have no groups")
            for name in ("age.mean_absolute_error", "left_eye.mean_distance")
        },
    },
}
REGISTRATION = {"model": "fine_tuned", "reasons": ["It is better on val.", "There is no champion yet."]}


@pytest.fixture
def hook() -> Iterator[TerminalHook]:
    progress = logging.getLogger(PROGRESS_LOGGER)
    before = progress.level, progress.propagate
    one = TerminalHook()
    yield one
    progress.level, progress.propagate = before
    progress.removeHandler(one._bar)
    logging.getLogger(STEPS_LOGGER).removeHandler(one._skips)


def test_closing_table_sets_both_models_side_by_side_with_intervals() -> None:
    lines = closing_table(METRICS, REGISTRATION, minutes=1.26, tracking=["MLflow run: swift-fox"])
    table = {line[:20].strip(): line[20:].split("  ") for line in lines}
    accuracy = [cell.strip() for cell in table["accuracy"] if cell.strip()]
    assert accuracy == ["0.859 (0.831 to 0.885)", "0.887 (0.862 to 0.910)"]
    heading = next(line for line in lines if line.startswith("on test"))
    assert heading.index("probe") < heading.index("fine-tuned")
    assert len({len(line) for line in lines if line.startswith(("on test", "accuracy", "log loss"))}) == 1


def test_closing_table_says_what_is_missing_and_why() -> None:
    text = "\n".join(closing_table(METRICS, REGISTRATION, minutes=0.5, tracking=[]))
    assert "needs two classes" in text
    assert "0.310" in text
    assert "None" not in text
    assert "nan" not in text


def test_closing_table_says_what_was_chosen_and_where_all_is() -> None:
    text = "\n".join(closing_table(METRICS, REGISTRATION, minutes=1.26, tracking=["MLflow run: swift-fox"]))
    assert "chosen by val: fine-tuned\n  It is better on val.\n  There is no champion yet.\n" in text
    assert "without a pixel, majority class: 0.687 (0.650 to 0.720)" in text
    assert "MLflow run: swift-fox" in text
    assert "data/08_reporting/report.html" in text
    assert "1.3 minutes" in text


def test_closing_table_has_a_line_a_target_where_there_are_several() -> None:
    lines = closing_table(SEVERAL, REGISTRATION, minutes=1, tracking=[])
    heading, age, eye, joint, constant, group = lines[1:7]
    cells = [cell.strip() for cell in age.split("  ") if cell.strip()]
    assert cells == ["age mean absolute error", "6.25 (5.75 to 6.75)", "5.00 (4.50 to 5.50)"]
    assert eye.endswith("2.15 % (2.05 to 2.25)")
    assert joint.startswith("joint loss")
    assert len({len(line) for line in (heading, age, eye, joint)}) == 1
    assert constant == (
        "without a pixel, constant: age mean absolute error 12.5, left eye mean distance 5.00 %"
    )
    assert group == "without a pixel, group: the images have no groups"


def test_long_reasons_are_broken_into_lines() -> None:
    reason = " ".join(["Not promoted: the difference may be chance, 81.9 % against 80.9 %"] * 4)
    lines = closing_table(METRICS, REGISTRATION | {"reasons": [reason]}, minutes=1, tracking=[])
    assert max(map(len, lines)) <= 110
    start = lines.index("chosen by val: fine-tuned") + 1
    assert " ".join(line.strip() for line in lines[start : start + 3]) == reason


def make_pipeline() -> Pipeline:
    contract = {"size": 64, "fit": "crop", "interpolation": "bicubic"}
    return Pipeline(
        [
            node(lambda: contract, None, "preprocessing", name="choose_preprocessing", tags="normalize"),
            node(lambda one: [1], "preprocessing", "pixels", name="normalize_images", tags="normalize"),
            node(lambda one: {"model": "probe"}, "pixels", "registration", name="decide", tags="register"),
        ]
    )


def play(hook: TerminalHook, *, skipped: tuple[str, ...] = ()) -> None:
    """What Kedro and the runner tell of a run."""
    manager = _create_hook_manager()
    manager.register(hook)
    pipeline = make_pipeline()
    catalog = DataCatalog({"metrics": MemoryDataset(METRICS), "registration": MemoryDataset(REGISTRATION)})
    manager.hook.before_pipeline_run(run_params={}, pipeline=pipeline, catalog=catalog)
    results: dict[str, Any] = {
        "preprocessing": make_pipeline().nodes[0].func(),
        "pixels": [1],
        "registration": REGISTRATION,
    }
    for one in pipeline.nodes:
        if one.name in skipped:
            logging.getLogger(STEPS_LOGGER).info("skipped", extra={"node": one, "is_skipped": True})
            continue
        manager.hook.before_node_run(node=one, catalog=catalog, inputs={}, is_async=False, run_id="now")
        for name in one.outputs:
            manager.hook.after_dataset_saved(dataset_name=name, data=results[name], node=one)
    manager.hook.after_pipeline_run(run_params={}, run_result={}, pipeline=pipeline, catalog=catalog)


@pytest.fixture(autouse=True)
def _steps_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, STEPS_LOGGER)


def test_a_line_a_step_with_its_facts(hook: TerminalHook, capsys: pytest.CaptureFixture[str]) -> None:
    play(hook)
    told = capsys.readouterr()
    normalize, register = told.err.splitlines()
    assert normalize.split() == ["normalize", "64", "px,", "crop,", "bicubic", "0.0", "s"]
    assert register.startswith("register        fine-tuned chosen")
    assert "0.859 (0.831 to 0.885)" in told.out


def test_what_is_skipped_is_up_to_date(hook: TerminalHook, capsys: pytest.CaptureFixture[str]) -> None:
    play(hook, skipped=("choose_preprocessing", "normalize_images", "decide"))
    told = capsys.readouterr()
    assert [line.split()[1:4] for line in told.err.splitlines()] == [["up", "to", "date"]] * 2
    assert "nothing has changed: no new run, the registry stays as it is" in told.out


def test_a_step_that_ran_in_part_is_not_up_to_date(
    hook: TerminalHook, capsys: pytest.CaptureFixture[str]
) -> None:
    play(hook, skipped=("choose_preprocessing",))
    normalize, _ = capsys.readouterr().err.splitlines()
    assert normalize.split()[:2] == ["normalize", "done"]


def test_quiet_leaves_the_result_alone(hook: TerminalHook, capsys: pytest.CaptureFixture[str]) -> None:
    hook.set_verbosity(0)
    play(hook)
    told = capsys.readouterr()
    assert told.err == ""
    assert "on test" in told.out


def test_a_second_run_in_one_process_starts_anew(
    hook: TerminalHook, capsys: pytest.CaptureFixture[str]
) -> None:
    play(hook)
    capsys.readouterr()
    play(hook, skipped=("choose_preprocessing", "normalize_images", "decide"))
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 2
    assert "nothing has changed" in told.out


def history_of(**weights: float) -> dict[str, Any]:
    """Of a fine-tuning, with what each candidate of a search counts."""
    return {
        "best_epoch": 1,
        "rows": [
            {"val_log_loss": 0.4, "val_accuracy": 0.8},
            {"val_log_loss": 0.45, "val_accuracy": 0.9},
            {"val_log_loss": 0.5, "val_accuracy": 0.7},
        ],
        "val": {"val_log_loss": 0.3, "val_accuracy": 0.9},
        "search": [{"candidate": name, "weight": weight} for name, weight in weights.items()],
    }


@pytest.mark.parametrize(
    ("dataset", "data", "expected"),
    [
        (
            "head_history",
            {"summary": {"penalty": 0.3, "gradient_norm": 9.2e-7, "iterations": 41}},
            "penalty 0.3, gradient 9e-07 after 41 iterations",
        ),
        ("head_history", {"summary": {"best_epoch": 7}}, "converged, best epoch 7"),
        ("ingest_report", {"num_unreadable": 3}, "3 more could not be read"),
        ("ingest_report", {"num_unreadable": 0}, ""),
        (
            "fine_tune_history",
            history_of(),
            "best epoch 1 of 2; val log-loss 0.400 -> 0.300, accuracy 0.800 -> 0.900",
        ),
        (
            "fine_tune_history",
            history_of(none=0.0, all=1.0),
            "all chosen; best epoch 1 of 2; val log-loss 0.400 -> 0.300, accuracy 0.800 -> 0.900",
        ),
        (
            "fine_tune_history",
            history_of(none=0.0, first=0.25, all=0.75),
            "mean of all (75%), first (25%); val log-loss 0.400 -> 0.300, accuracy 0.800 -> 0.900",
        ),
        (
            "fine_tune_history",
            history_of(none=0.2, first=0.45, all=0.35),
            "mean of first (45%), all (35%) and 1 more; val log-loss 0.400 -> 0.300, accuracy 0.800 -> 0.900",
        ),
        ("balance", {"chosen": "class_weights"}, "balance class_weights"),
        ("balance", {"chosen": "none"}, ""),
        ("image_index", range(2624), "2,624 images"),
        ("metrics", METRICS, "test accuracy probe 0.859, fine-tuned 0.887"),
        ("metrics", SEVERAL, "test, probe -> fine-tuned: age 6.25 -> 5.00, left_eye 2.15 % -> 2.15 %"),
        (
            "head_history",
            {"summary": {"targets": {"age": {"penalty": 0.3}, "sex": {"penalty": 0.01, "iterations": 4}}}},
            "penalty 0.3 for age, 0.01 for sex",
        ),
        (
            "fine_tune_history",
            history_of()
            | {
                "rows": [{"val_log_loss": 2.0, "val_age.mean_absolute_error": 6.25, "val_sex.accuracy": 0.8}],
                "val": {"val_log_loss": 1.5, "val_age.mean_absolute_error": 5.0, "val_sex.accuracy": 0.9},
                "best_epoch": 0,
            },
            "best epoch 0 of 0; val log-loss 2.000 -> 1.500, age 6.25 -> 5, sex 0.8 -> 0.9",
        ),
    ],
)
def test_facts_of_artefacts(dataset: str, data: Any, expected: str) -> None:
    assert FACTS[dataset](data) == expected


def test_sizes_of_the_splits() -> None:
    import pandas as pd

    manifest = pd.DataFrame({"split": ["train"] * 1200 + ["test"] * 3})
    assert FACTS["manifest"](manifest) == "train 1,200, val 0, test 3"


def test_facts_are_told_of_artefacts_that_there_are() -> None:
    catalog = (Path(__file__).parents[2] / "conf/base/catalog.yml").read_text()
    passed_on = create_pipeline().all_outputs()  # what predict tells of a run is in no file
    for name in FACTS:
        assert f"\n{name}:" in catalog or name in passed_on


def test_bars_follow_the_task_and_go_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "_BAR_AFTER_S", 0)
    handler = terminal._BarHandler()

    def tell(task: str, done: int, total: int) -> None:
        record = logging.makeLogRecord({"task": task, "done": done, "total": total})
        handler.emit(record)

    tell("reading images", 0, 10)
    tell("reading images", 4, 10)
    assert handler._bar is not None
    assert handler._bar.n == 4
    tell("predicting", 1, 2)
    assert handler._bar.desc.startswith("predicting")
    tell("predicting", 2, 2)
    assert handler._bar is None
    tell("predicting", 1, 2)
    handler.close()
    assert handler._bar is None
    assert capsys.readouterr().err.split("\r")[-1].strip() == "", "a bar erases itself"
