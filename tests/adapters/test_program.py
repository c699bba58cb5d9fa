"""Which program a running part belongs to."""

from collections.abc import Iterator

import pytest
from kedro.framework import project
from kedro.pipeline import Pipeline, node

from regraft.adapters.program import program_name, read_parameters, whole_program


def step(name: str, source: str, target: str, key: str) -> Pipeline:
    return Pipeline([node(lambda first, _: first, [source, f"params:{key}"], target, name=name)])


INGEST, TRAIN, COMPARE = (
    step("ingest", "raw", "table", "ingest"),
    step("train", "table", "model", "train.head"),
    step("compare", "table", "comparison", "compare"),
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    project.pipelines.configure(None)
    project.pipelines["__default__"] = INGEST + TRAIN
    project.pipelines["compare"] = INGEST + COMPARE
    project.pipelines["everything"] = INGEST + TRAIN + COMPARE
    yield
    project.pipelines.configure(None)


def test_a_part_of_the_main_job_belongs_to_it() -> None:
    for part in (INGEST, TRAIN, INGEST + TRAIN):
        assert program_name(part) is None
        assert whole_program(part).describe() == (INGEST + TRAIN).describe()


def test_a_part_of_another_program_belongs_to_the_smallest_that_holds_it() -> None:
    for part in (COMPARE, INGEST + COMPARE):
        assert program_name(part) == "compare"
        assert {one.name for one in whole_program(part).nodes} == {"ingest", "compare"}


def test_one_that_is_registered_nowhere_is_its_own() -> None:
    alone = step("alone", "raw", "thing", "alone")
    assert program_name(alone) is None
    assert whole_program(alone) is alone


def test_a_program_reads_the_parameters_of_its_nodes() -> None:
    assert read_parameters(TRAIN) == {"ingest", "train"}
    assert read_parameters(COMPARE) == {"ingest", "compare"}
