"""A step run alone, on what other steps left behind."""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kedro.framework import project
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node

from regraft.adapters.datasets import WholeJSON
from regraft.adapters.files import ContentHashes
from regraft.adapters.generations import Generations, StaleInputError
from regraft.adapters.node_records import NodeRecord, NodeRecords

sys.path.insert(0, str(Path(__file__).parent))  # pytest's import mode does not

from step_sample import Sample, SampleOptions, installed


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sample]:
    """Four nodes, run once: `scale` writes `scaled`, from which `describe` writes `sentence`."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    Path("numbers.json").write_text("[1, 2, 3]")
    with installed(tmp_path) as sample:
        sample.run()
        yield sample


def lock(md5_of_numbers: str, rate: object = 10) -> None:
    """What `dvc repro` writes: the stage's file as it is now, and numbers and parameters of some time."""
    md5 = hashlib.md5(Path("scaled.json").read_bytes()).hexdigest()
    stages = {
        "numbers": {"outs": [{"path": "numbers.json", "md5": md5_of_numbers}]},
        "sample": {
            "deps": [{"path": "numbers.json", "md5": md5_of_numbers}, {"path": "nodes.py", "md5": "0" * 32}],
            "params": {
                "conf/base/sample.yml": {"sample": {"rate": rate}},
                "conf/base/globals.yml": {"rate": 10},
            },
            "outs": [{"path": "scaled.json", "md5": md5}, {"path": "folder", "md5": f"{md5}.dir"}],
        },
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def md5_now() -> str:
    return hashlib.md5(Path("numbers.json").read_bytes()).hexdigest()


def test_what_belongs_together_runs(sample: Sample) -> None:
    assert sample.run("describe") == []
    assert sample.run("describe", is_fresh=True) == ["describe"]


def test_an_input_of_the_step_before_that_changed_is_told_with_the_remedy(sample: Sample) -> None:
    Path("numbers.json").write_text("[1, 2, 4]")
    with pytest.raises(
        StaleInputError,
        match=r"^describe would mix what does not belong together: 'scaled' was made from another 'numbers'\. "
        r"Run `kedro run --pipelines sample`, or everything that changed with `kedro run --pipeline finetune`$",
    ):
        sample.run("describe")
    assert sample.called == []
    assert sample.run("scale", "describe") == ["scale", "describe"], "what runs itself is no question"
    assert sample.run("describe") == []


def test_a_parameter_of_the_step_before_that_changed_is_told(sample: Sample) -> None:
    sample.options = SampleOptions(rate=3)
    with pytest.raises(StaleInputError, match=r"'scaled' was made with sample\.rate=10\.0, not 3\.0 as now"):
        sample.run("describe")


def test_a_file_that_somebody_altered_is_told(sample: Sample) -> None:
    Path("scaled.json").write_text("[7]")
    with pytest.raises(StaleInputError, match=r"'scaled' is not what scale wrote"):
        sample.run("describe")
    assert sample.run("describe", is_trusting=True) == ["describe"]
    assert Path("sentence.txt").read_text() == "they are [7]"


def test_a_step_that_failed_half_way_leaves_its_old_files_known_as_old(sample: Sample) -> None:
    Path("numbers.json").write_text("[1, 2, 4]")
    sample.options = SampleOptions(fails=True)
    with pytest.raises(ValueError, match="planted"):
        sample.run("scale")
    with pytest.raises(StaleInputError, match=r"'scaled' was made from another 'numbers'"):
        sample.run("describe")


def test_code_of_the_step_before_may_change(sample: Sample) -> None:
    sample.append("deeper.py", "# changed\n")
    assert sample.run("describe") == []


def test_without_a_record_nothing_is_said(sample: Sample) -> None:
    Path(".regraft/nodes/scale.json").unlink()
    Path("scaled.json").write_text("[7]")
    assert sample.run("describe") == ["describe"]


def test_what_is_missing_is_no_other(sample: Sample) -> None:
    """A machine may have the features alone, and no images."""
    Path("numbers.json").unlink()
    assert sample.run("describe", is_fresh=True) == ["describe"]


@pytest.mark.parametrize("rate", [10, "${globals:rate}"])
def test_a_file_that_dvc_checked_out_is_taken(sample: Sample, rate: object) -> None:
    Path("scaled.json").write_text("[7]")
    lock(md5_now(), rate)
    assert sample.run("describe") == ["describe"]


def test_a_file_is_what_dvc_says_where_the_record_is_of_another_time(sample: Sample) -> None:
    """Other parameters gave the same file; then DVC checked out, and nothing ran that left a record."""
    lock(md5_now(), rate=10)
    record = Path(".regraft/nodes/scale.json")
    record.write_text(record.read_text().replace('"rate": 10.0', '"rate": 3.0'))
    sample.options = SampleOptions(rate=10)
    assert sample.run("describe", is_fresh=True) == ["describe"]


@pytest.mark.parametrize(
    ("md5", "rate", "fault"),
    [
        ("0" * 32, 10, r"'scaled' was made from another 'numbers\.json'"),
        (None, 3, r"'scaled' was made with sample\.rate=3, not 10\.0 as now"),
    ],
)
def test_a_file_that_dvc_knows_to_be_made_otherwise_is_told(
    sample: Sample, md5: str | None, rate: object, fault: str
) -> None:
    Path("scaled.json").write_text("[7]")
    lock(md5 or md5_now(), rate)
    with pytest.raises(StaleInputError, match=fault):
        sample.run("describe")


def test_under_dvc_nothing_is_looked_at(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "describe")
    Path("scaled.json").write_text("[7]")
    assert sample.run("describe") == ["describe"]


def test_records_of_an_earlier_version_are_understood(sample: Sample) -> None:
    path = Path(".regraft/nodes/scale.json")
    record = json.loads(path.read_text())
    del record["is_finished"]
    path.write_text(json.dumps(record))
    assert sample.run() == []


def test_a_change_far_behind_is_found_and_all_between_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`table` changed after `pixels` were made of it, and `features` of those; `head` reads `table` and `features`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    made = {"table": "index", "pixels": "decode", "backbone": "load", "features": "extract", "head": "fit"}
    read = {"pixels": ["table"], "features": ["pixels", "backbone"], "head": ["table", "features"]}
    pipeline = Pipeline(
        [node(lambda *_: 1, read.get(name), name, name=step, tags=step) for name, step in made.items()]
    )
    catalog = DataCatalog({name: WholeJSON(filepath=f"{name}.json") for name in made})
    for name in made:
        Path(f"{name}.json").write_text(f'"{name}"')
    hashes, records = ContentHashes(Path("hashes.json")), NodeRecords(Path("nodes"))
    for name, step in made.items():
        inputs = {one: hashes.of(Path(f"{one}.json")) for one in read.get(name, [])}
        fingerprint = {"inputs": inputs, "parameters": {}}
        records.write(step, NodeRecord(fingerprint, {name: hashes.of(Path(f"{name}.json"))}))
    project.pipelines.configure(None)
    project.pipelines["__default__"] = pipeline
    fit = pipeline.only_nodes("fit")
    Generations(fit, catalog, hashes, records).require_fresh_inputs(fit.nodes[0])

    Path("table.json").write_text('"another table"')
    records.write(
        "index", NodeRecord({"inputs": {}, "parameters": {}}, {"table": hashes.of(Path("table.json"))})
    )
    with pytest.raises(
        StaleInputError,
        match=r"'pixels' was made from another 'table'\. Run `kedro run --pipelines decode,extract,fit`",
    ):
        Generations(fit, catalog, hashes, records).require_fresh_inputs(fit.nodes[0])
