import logging

import pytest

from regraft.messages import METRICS_LOGGER, PROGRESS_LOGGER, report_metrics, report_progress, report_tags


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
