import logging

import pytest

from regraft.messages import (
    METRICS_LOGGER,
    PROGRESS_LOGGER,
    about_model,
    report_metrics,
    report_progress,
    report_tags,
)


def test_metrics_are_log_records_with_step_and_values(caplog: pytest.LogCaptureFixture) -> None:
    metrics = {"fine_tune/val_loss": 0.123456, "fine_tune/val_accuracy": 1.0}
    with caplog.at_level(logging.INFO, METRICS_LOGGER):
        report_metrics(metrics, step=3)
    (record,) = caplog.records
    assert record.name == METRICS_LOGGER
    assert record.levelno == logging.INFO
    assert record.getMessage() == "step 3: fine_tune/val_loss 0.1235, fine_tune/val_accuracy 1"
    assert record.step == 3
    assert record.metrics == metrics
    metrics.clear()
    assert record.metrics, "what was sent stays as it was"


def test_progress_is_log_records_that_nobody_need_listen_to(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, PROGRESS_LOGGER):
        report_progress("reading images", 3, 8)
    (record,) = caplog.records
    assert (record.name, record.levelno) == (PROGRESS_LOGGER, logging.DEBUG)
    assert (record.task, record.done, record.total) == ("reading images", 3, 8)
    assert record.getMessage() == "reading images: 3 of 8"
    caplog.clear()
    with caplog.at_level(logging.INFO, PROGRESS_LOGGER):
        report_progress("reading images", 4, 8)
    assert not caplog.records


def test_facts_of_a_run_are_a_log_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, METRICS_LOGGER):
        report_tags({"device": "cpu"})
    (record,) = caplog.records
    assert record.tags == {"device": "cpu"}
    assert not hasattr(record, "metrics")


def test_what_is_reported_about_a_model_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, METRICS_LOGGER):
        with about_model("small", parameters={"a": {"b": 1}}):
            report_metrics({"loss": 1.0}, step=0)
        report_metrics({"loss": 2.0}, step=1)
        with pytest.raises(KeyboardInterrupt), about_model("large"):
            raise KeyboardInterrupt
    begun, inside, ended, outside, _, killed = caplog.records
    assert (begun.begun, begun.parameters) == ("small", {"a": {"b": 1}})
    assert (inside.model, outside.model) == ("small", None)
    assert (ended.ended, ended.status) == ("small", "FINISHED")
    assert (killed.ended, killed.status) == ("large", "KILLED")
